// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/security.h"

namespace gc::peer {

Result<Security> secure(const SecurityOptions& options, tls::Role role, const Endpoint& address) {
    if (options.insecure)
        return Security{.protection = Protection::insecure, .credentials = {}};
    if (!options.tls_wanted) {
        GC_TRY(const bool loopback, is_loopback(address, role == tls::Role::server));
        if (loopback)
            return Security{};
    }
    auto credentials = tls::Credentials::load(options.tls, role);
    if (!credentials && !options.tls_wanted)
        return fail(ErrorKind::unsupported,
                    "{} is not the loopback, and there are no credentials for TLS: {}; see "
                    "--tls-creds and --tls-psk, or give --insecure at both ends to send the VM in "
                    "clear",
                    address.str(), credentials.error().message);
    if (!credentials)
        return Unexpected(credentials.error());
    return Security{.protection = Protection::tls, .credentials = *std::move(credentials)};
}

}  // namespace gc::peer

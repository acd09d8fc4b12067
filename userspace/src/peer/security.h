// SPDX-License-Identifier: GPL-2.0-or-later
// Whether the channels of a migration are protected, and by what.
#pragma once

#include "report/report.h"
#include "tls/credentials.h"
#include "util/socket.h"

#include <optional>
#include <string_view>

namespace gc::peer {

using report::Protection;

/// The PSK identity of the key that `gcctl migrate --to ssh://...` makes.
inline constexpr std::string_view one_time_identity = "guidecopy-ssh";

/// The user's choice.
struct SecurityOptions {
    tls::Options tls;
    bool tls_wanted = false;  ///< an option of TLS was given; see finish()
    bool insecure = false;
};

struct Security {
    Protection protection = Protection::loopback;
    std::optional<tls::Credentials> credentials;  ///< with TLS
};

/// Decides for an address that the user gave. Without TLS options the loopback needs none, and any
/// other address the default directories' certificates.
/// @param role client: the address is connected to; server: it is listened on
/// Errors: io, if the address cannot be resolved; unsupported, without credentials for an address
/// that is not the loopback, or with unfit ones.
Result<Security> secure(const SecurityOptions& options, tls::Role role, const Endpoint& address);

}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/security_options.h"

namespace gc::peer {

namespace po = boost::program_options;

options::Group security_group(SecurityOptions& options, tls::Role role) {
    options::Group group("Security");
    group.add_options()(
        "tls-creds", po::value(&options.tls.creds_dir)->value_name("DIR"),
        "certificates for TLS, by QEMU's or libvirt's file names (default: /etc/pki/qemu, else "
        "/etc/pki/libvirt); needed unless the address is of the loopback");
    if (role == tls::Role::client)
        group.add_options()(
            "tls-hostname", po::value(&options.tls.hostname)->value_name("NAME"),
            "the name in the destination's certificate (default: the host of --to)");
    group.add_options()(
        "tls-authz", po::value(&options.tls.authz)->composing()->value_name("DN"),
        role == tls::Role::client
            ? "accept only a destination whose distinguished name matches; * and ? are wildcards; "
              "may be repeated"
            : "accept only sources whose distinguished name matches; * and ? are wildcards; may be "
              "repeated (default: all that the CA has signed)")(
        "tls-psk", po::value(&options.tls.psk_file)->value_name("FILE"),
        "a file of pre-shared keys (NAME:HEX, as psktool makes it) instead of certificates");
    if (role == tls::Role::client)
        group.add_options()("tls-psk-identity",
                            po::value(&options.tls.psk_identity)->value_name("NAME"),
                            "whose key of that file to use (default: qemu)");
    group.add_options()("insecure", po::bool_switch(&options.insecure),
                        "no TLS: whoever is on the network can read and change the VM");
    return group;
}

Result<void> finish(SecurityOptions& options) {
    const tls::Options& tls = options.tls;
    options.tls_wanted = !tls.creds_dir.empty() || !tls.hostname.empty() || !tls.authz.empty() ||
                         !tls.psk_file.empty() || !tls.psk_identity.empty();
    if (options.insecure && options.tls_wanted)
        return fail(ErrorKind::usage, "--insecure excludes the --tls options");
    if (!tls.psk_file.empty() && (!tls.creds_dir.empty() || !tls.authz.empty()))
        return fail(ErrorKind::usage, "--tls-psk excludes --tls-creds and --tls-authz");
    return {};
}

}  // namespace gc::peer

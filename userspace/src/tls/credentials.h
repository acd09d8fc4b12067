// SPDX-License-Identifier: GPL-2.0-or-later
// What an end of a TLS connection proves its identity with, and whom it accepts: X.509 certificates
// or pre-shared keys (PSK), from the files that QEMU and libvirt use.
#pragma once

#include "util/error.h"

#include <array>
#include <cstddef>
#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gc::tls {

struct CredentialsState;
class Session;

enum class Role { client, server };

/// A key that both ends know and nobody else: of one channel, or of one migration over ssh.
using Key = std::array<std::byte, 32>;

/// The user's choice. Empty fields mean the defaults.
struct Options {
    std::string creds_dir;           ///< of certificates; default: default_directories
    std::string hostname;            ///< expected in the server's certificate
    std::vector<std::string> authz;  ///< patterns of accepted distinguished names
    std::string psk_file;            ///< QEMU's keys.psk; excludes creds_dir
    std::string psk_identity;        ///< of a client, in psk_file; default: "qemu", as in QEMU
};

/// Where certificates are looked for without --tls-creds. The first directory that exists counts.
inline constexpr std::array default_directories{"/etc/pki/qemu", "/etc/pki/libvirt"};

/// Immutable and cheap to copy. Threads may use it at the same time.
class Credentials {
  public:
    /// Loads what `options` name, and checks it: readable, certificates valid now and made for the
    /// role, the key fits the certificate, the CA signed it. A directory has QEMU's file names
    /// (ca-cert.pem, ca-crl.pem, server-cert.pem, server-key.pem, client-cert.pem, client-key.pem)
    /// or libvirt's (cacert.pem, cacrl.pem, servercert.pem, serverkey.pem, ... with the CA also in
    /// ../CA and the keys also in private/). A revocation list is optional.
    /// Errors: usage, for options that exclude each other; unsupported, for files that are missing,
    /// unreadable or unfit.
    static Result<Credentials> load(const Options& options, Role role);

    /// A pre-shared key made for one session or one channel. Serves both roles.
    static Result<Credentials> one_time(std::string identity, const Key& key);

    [[nodiscard]] bool uses_psk() const;
    /// For people: "certificate CN=a.example in /etc/pki/qemu", "pre-shared keys in FILE".
    [[nodiscard]] const std::string& describe() const;
    /// The end of the validity of the own certificate or its CA's, whichever is first. nullopt for
    /// pre-shared keys.
    [[nodiscard]] std::optional<std::time_t> valid_until() const;

  private:
    friend class Session;
    explicit Credentials(std::shared_ptr<const CredentialsState> state);

    std::shared_ptr<const CredentialsState> state_;
};

/// True if the whole name matches the pattern: '*' stands for any characters, '?' for one. As in
/// libvirt's tls_allowed_dn_list.
bool matches(std::string_view pattern, std::string_view name);

/// 32 random bytes.
Result<Key> random_key();

}  // namespace gc::tls

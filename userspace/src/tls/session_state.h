// SPDX-License-Identifier: GPL-2.0-or-later
// What a Session is made of, shared by its handshake and its data path.
#pragma once

#include "tls/gnutls.h"
#include "tls/session.h"

#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>

namespace gc::tls {

/// The largest plaintext of a record: RFC 8446, section 5.1.
inline constexpr std::size_t max_record = 16384;

struct SessionState {
    SessionState(int socket, Role own_role, std::shared_ptr<const CredentialsState> own,
                 const SessionOptions& chosen)
        : fd(socket), role(own_role), credentials(std::move(own)), options(chosen) {}

    const int fd;
    const Role role;
    const std::shared_ptr<const CredentialsState> credentials;
    const SessionOptions options;
    std::string host;  ///< expected in the server's certificate
    PskLookup lookup;  ///< until the end of the handshake

    PskServer psk_server;
    PskClient psk_client;
    SessionHandle handle;  ///< destroyed before what it uses

    /// Held during each call of GnuTLS, never while waiting. GnuTLS allows one thread to send while
    /// another receives only as long as no key changes (gnutls issue 1717).
    mutable std::mutex mutex;
    /// The errno of the last failed send or receive.
    int transport_error = 0;
    bool kernel_sends = false;

    /// Bytes that were received and that GnuTLS has not asked for: it asks for a record's header,
    /// and then for the rest, and one system call brings both. Under `mutex`.
    std::array<std::byte, max_record + 512> ahead;
    std::size_t ahead_begin = 0, ahead_end = 0;
    bool drained = true;  ///< the last receive brought all that the socket had

    /// What the peer sent first, for messages about peers that do not speak TLS.
    std::array<unsigned char, 16> first_bytes{};
    std::size_t first_count = 0;
    std::string refusal;                ///< why this end refuses the peer's certificate
    bool peer_is_unauthorized = false;  ///< `refusal` is about the name, not the certificate
    bool verified = false;              ///< this end has verified a certificate
    std::string tried_psk;              ///< the identity that a client claims
    bool unknown_psk = false;           ///< nobody knows its key

    std::string peer;
    std::optional<std::string> psk_identity;

    // Of the reading thread.
    int read_error = 0;  ///< of GnuTLS, found after bytes that were returned first

    /// Held by a writer, also while it waits. Taken before `mutex`.
    std::mutex writer;
    // Of the writer.
    std::array<std::byte, max_record> record;  ///< small parts on their way into one record
    std::size_t filled = 0;                    ///< bytes of `record` that wait for more
    std::atomic<std::uint64_t> sent = 0;       ///< records under the current key
    std::uint64_t compare_at = 0;              ///< value of `sent` to ask the kernel at
};

/// Whether a whole record can be read without the socket. Call it under the mutex.
bool holds_record(const SessionState& state);
/// Performs the handshake. Errors: see Session::client().
Result<void> shake_hands(SessionState& state, Deadline deadline);

/// The text for an error of GnuTLS, with errno's where the transport failed.
std::string error_text(const SessionState& state, int code);

}  // namespace gc::tls

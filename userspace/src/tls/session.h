// SPDX-License-Identifier: GPL-2.0-or-later
// A TLS 1.3 connection over a connected socket. Both ends have proven who they are before a Session
// exists.
//
// Where the kernel can (module `tls`), it encrypts what is sent: sendfile(2) then still reads the
// page cache without a copy in user space. Received records are always decrypted by GnuTLS.
#pragma once

#include "tls/credentials.h"
#include "util/deadline.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <sys/uio.h>

namespace gc::tls {

struct SessionState;

/// The key of a PSK identity that the server's Credentials do not know, or nullopt. Called in the
/// handshake, before the peer has proven that it knows the key: only a Session that was returned
/// uses up a key that is good for one use.
using PskLookup = std::function<std::optional<Key>(std::string_view identity)>;

/// How many records one key may protect, if nothing else is known: RFC 8446, section 5.5.
inline constexpr std::uint64_t max_records_aes_gcm = 23'726'566;  // 2^24.5

struct SessionOptions {
    /// What this end will send at most, as far as it knows. A key of AES-GCM protects 2^24.5
    /// records, and Linux before 6.14 cannot change the key of a connection: a client that will
    /// send more prefers ChaCha20-Poly1305, which has no such limit.
    std::uint64_t expected_bytes = 0;
    /// False encrypts in user space even where the kernel could.
    bool use_kernel = true;
    /// The peer is no gcctl but, in a benchmark, a QEMU: it names no protocol (ALPN), and the
    /// server does not say that it accepts it.
    bool foreign_peer = false;
    /// Records per key, at most; lowered by tests.
    std::uint64_t max_records = max_records_aes_gcm;
};

class Session {
  public:
    /// Performs the handshake on a connected socket, which the caller keeps open as long as the
    /// Session. The socket may be blocking or not. SIGPIPE is never raised.
    ///
    /// The client's handshake ends when the server says that it accepts the client, so that a
    /// refusal is this call's error and not that of some later read.
    /// @param host the name or address that the caller connected to; the server's certificate must
    ///             be made for it, unless Options::hostname names another
    /// Errors: unsupported, if an end refuses the other, with the reason and what to type;
    /// protocol, if the peer does not speak TLS 1.3; io, if the connection fails or the deadline
    /// passes.
    static Result<Session> client(int fd, const Credentials& credentials, const std::string& host,
                                  Deadline deadline, const SessionOptions& options = {});
    /// @param lookup knows PSK identities beside those of the credentials; may be empty
    static Result<Session> server(int fd, const Credentials& credentials, PskLookup lookup,
                                  Deadline deadline, const SessionOptions& options = {});

    Session(Session&& other) noexcept;
    Session& operator=(Session&& other) noexcept;
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session();  ///< sends nothing and leaves the socket open

    // One thread may read while others write. A write ends before the next one begins.

    /// Reads at least one byte into the span; blocks until then. shutdown(2) ends the wait.
    /// @return 0 once the peer has ended its side orderly
    /// Errors: io, if the connection was cut; protocol, for altered, replayed or reordered records.
    Result<std::size_t> read_some(std::span<std::byte> into);
    /// The same without waiting. @return nullopt if no complete record is there yet
    Result<std::optional<std::size_t>> try_read(std::span<std::byte> into);
    /// True if a record was received and not yet read: poll(2) on the socket does not show it.
    [[nodiscard]] bool pending() const;

    /// Writes all bytes; blocks until the kernel has taken them. Small parts share records.
    /// Modifies the vector. Errors: io.
    /// @param more another write or send_file follows at once: bytes may wait for its record
    Result<void> write(std::span<iovec> parts, bool more = false);
    Result<void> write(std::span<const std::byte> bytes);
    /// Writes a part of a file, as gc::send_file() does.
    Result<void> send_file(int file, std::uint64_t offset, std::size_t size);
    /// Tells the peer that nothing more follows (close_notify). Best effort; reading goes on. Does
    /// nothing while another thread writes: the peer then sees a cut, which it is.
    void end(Deadline deadline = std::chrono::seconds(2));

    /// A secret of this session that both ends know: RFC 8446, section 7.5.
    [[nodiscard]] Result<Key> exporter(std::string_view label, std::string_view context = {}) const;

    /// For events and logs: "CN=a.example,O=Example" or "PSK identity 'qemu'".
    [[nodiscard]] const std::string& peer() const;
    /// The identity that a server's peer has proven with a pre-shared key; nullopt if it has a
    /// certificate.
    [[nodiscard]] const std::optional<std::string>& psk_identity() const;
    /// "TLS 1.3, AES-128-GCM, encrypted by the kernel"
    [[nodiscard]] std::string describe() const;

    [[nodiscard]] bool kernel_sends() const;
    /// How many records may still be sent, or nullopt if there is no limit: only a kernel that
    /// sends with AES-GCM has one, elsewhere the key is changed in time. A write beyond it fails.
    /// A record has up to 16 KiB; each write and send_file begins a new one.
    [[nodiscard]] std::optional<std::uint64_t> records_left() const;

  private:
    explicit Session(std::unique_ptr<SessionState> state);
    std::unique_ptr<SessionState> state_;
};

}  // namespace gc::tls

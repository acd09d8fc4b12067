// SPDX-License-Identifier: GPL-2.0-or-later
// TCP and unix sockets: blocking, close-on-exec, every wait bounded.
#pragma once

#include "util/fd.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace gc::inline util {

/// Where a TCP peer listens: "host:port", "1.2.3.4:port" or "[v6]:port".
struct Endpoint {
    std::string host;
    std::string port;

    /// Errors: usage, with the form that was expected.
    static Result<Endpoint> parse(std::string_view text);
    [[nodiscard]] std::string str() const;
};

/// Connects within the timeout. TCP_NODELAY is on: a page request must not wait for a full segment.
/// A peer that is gone without a word is an error (ETIMEDOUT) within two minutes, if only its word
/// is waited for.
Result<UniqueFd> tcp_connect(const Endpoint& to, std::chrono::milliseconds timeout);
/// Listens on the endpoint (SO_REUSEADDR).
Result<UniqueFd> tcp_listen(const Endpoint& at);
/// The port that a listening socket really has (port 0 asks the kernel for one).
Result<std::uint16_t> local_port(int fd);

Result<UniqueFd> unix_connect(const std::string& path, std::chrono::milliseconds timeout);
/// Listens on a path that must not exist yet; only its owner can connect.
Result<UniqueFd> unix_listen(const std::string& path);

/// Accepts one connection. Errors: io, also when nobody comes within the timeout.
Result<UniqueFd> accept_one(int listener, std::chrono::milliseconds timeout);

/// Waits until the descriptor is readable (true) or the timeout has passed (false).
Result<bool> wait_readable(int fd, std::chrono::milliseconds timeout);

/// Sends so many bytes of a file from its page cache, without copying them (sendfile(2)): whoever
/// writes there before the peer has them changes what it gets. SIGPIPE must be ignored. Errors: io,
/// also when the file ends before.
Result<void> send_file(int socket, int file, std::uint64_t offset, std::size_t size);

/// Bytes in a queue of the socket.
/// @param queue SIOCINQ, SIOCOUTQ or SIOCOUTQNSD (tcp(7), unix(7)); a socket without it has 0 there
std::uint64_t queued_bytes(int fd, unsigned long queue);

}  // namespace gc::inline util

// SPDX-License-Identifier: GPL-2.0-or-later
// TCP and unix sockets: blocking, close-on-exec, every wait bounded.
#pragma once

#include "util/deadline.h"
#include "util/fd.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace gc {
inline namespace util {

/// A TCP address: "host:port", "1.2.3.4:port" or "[v6]:port".
struct Endpoint {
    std::string host;
    std::string port;

    /// Of an address to listen on: no host means any address, port 0 any port.
    /// Errors: usage, with what was expected.
    static Result<Endpoint> parse(std::string_view text);
    /// Of an address to connect to, which has both. Errors: usage.
    static Result<Endpoint> parse_destination(std::string_view text);
    [[nodiscard]] std::string str() const;
};

/// Whether all addresses that the endpoint stands for are of this host's loopback.
/// @param passive as for tcp_listen(): no host means any address
/// Errors: io, if it cannot be resolved.
Result<bool> is_loopback(const Endpoint& endpoint, bool passive);

/// Connects by the deadline. Sets TCP_NODELAY, so that a short message does not wait for a full
/// segment. Keepalive reports a peer that vanished silently within two minutes (ETIMEDOUT), even
/// while this side only reads.
Result<UniqueFd> tcp_connect(const Endpoint& to, Deadline deadline);
/// Listens on the endpoint (SO_REUSEADDR).
Result<UniqueFd> tcp_listen(const Endpoint& at);
/// The address that a socket is connected to, in numbers.
Result<Endpoint> peer_endpoint(int fd);
/// The port that a listening socket is bound to; port 0 lets the kernel choose one.
Result<std::uint16_t> local_port(int fd);

/// Connects by the deadline, waiting for room in the backlog. Errors: usage, for a path that is too
/// long; io, with EAGAIN if the backlog stays full.
Result<UniqueFd> unix_connect(const std::string& path, Deadline deadline);

struct AcceptedSocket {
    UniqueFd fd;
    std::string from;  ///< the peer's address, as Endpoint::str() writes it
};
/// Accepts a connection that is waiting. Errors: io.
Result<AcceptedSocket> accept_peer(int listener);

/// Accepts one connection. Errors: io, also if none comes within the timeout.
Result<UniqueFd> accept_one(int listener, std::chrono::milliseconds timeout);

/// Sends `size` bytes of a file from the page cache without copying them (sendfile(2)). A write to
/// the file before the peer has received them changes what it receives. SIGPIPE must be ignored.
/// Errors: io, also if the file ends early.
Result<void> send_file(int socket, int file, std::uint64_t offset, std::size_t size);

/// The smoothed round-trip time of a TCP connection; 0 if unknown.
std::uint64_t round_trip_us(int fd);

/// Sets SO_MARK, unless the mark is 0: none. Fails only without CAP_NET_ADMIN, without which there
/// is no traffic policy that knows the mark either.
void set_mark(int socket, std::uint32_t mark);

/// The number of bytes in a queue of a socket, or 0 if the socket has no such queue.
/// @param queue SIOCINQ, SIOCOUTQ or SIOCOUTQNSD (tcp(7), unix(7))
std::uint64_t queued_bytes(int fd, unsigned long queue);

}  // namespace util
}  // namespace gc

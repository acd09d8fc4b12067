// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/socket.h"

#include "util/poll.h"
#include "util/units.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>

namespace gc {
inline namespace util {
namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Result<AddressList> resolve(const Endpoint& endpoint, int flags) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags;
    addrinfo* found = nullptr;
    const int status = ::getaddrinfo(endpoint.host.empty() ? nullptr : endpoint.host.c_str(),
                                     endpoint.port.c_str(), &hints, &found);
    if (status != 0)
        return fail(ErrorKind::io, "{}: {}", endpoint.str(), ::gai_strerror(status));
    return AddressList(found, ::freeaddrinfo);
}

void set_option(int fd, int level, int option, int value) {
    ::setsockopt(fd, level, option, &value, sizeof value);
}

/// connect(2) with a deadline. The socket is blocking again afterwards. @return 0 or an errno
int connect_by(int fd, const sockaddr* address, socklen_t length, Deadline deadline) {
    const int flags = ::fcntl(fd, F_GETFL);
    ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (::connect(fd, address, length) != 0) {
        if (errno != EINPROGRESS)
            return errno;
        const auto ready = wait_for_events(fd, POLLOUT, deadline);
        if (!ready)
            return ready.error().error_number;
        if (!*ready)
            return ETIMEDOUT;
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0)
            return error;
    }
    ::fcntl(fd, F_SETFL, flags);
    return 0;
}

/// Keepalive and TCP_NODELAY; no effect on a unix socket.
void set_up_connection(int fd) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    // A side that only reads must notice that its peer has vanished. Not sooner than after two
    // minutes: a shorter network outage must not cost a connection that cannot be made again.
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 15);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 6);
}

Result<sockaddr_un> unix_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        return fail(ErrorKind::usage, "invalid unix socket path '{}' (expected 1 to {} bytes)",
                    path, sizeof address.sun_path - 1);
    path.copy(address.sun_path, path.size());
    return address;
}

Result<Endpoint> numeric(const sockaddr_storage& address, socklen_t size) {
    std::array<char, NI_MAXHOST> host{};
    std::array<char, NI_MAXSERV> port{};
    if (const int error =
            ::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host.data(),
                          host.size(), port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV);
        error != 0)
        return fail(ErrorKind::io, "getnameinfo: {}", ::gai_strerror(error));
    return Endpoint{host.data(), port.data()};
}

}  // namespace

Result<Endpoint> Endpoint::parse(std::string_view text) {
    const auto invalid = [text](std::string_view expected) {
        return fail(ErrorKind::usage, "invalid address '{}' (expected {})", text, expected);
    };
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || colon + 1 == text.size())
        return invalid("HOST:PORT, e.g. 192.0.2.7:4444");
    std::string_view host = text.substr(0, colon);
    const std::string_view port = text.substr(colon + 1);
    if (!parse_number(port, 0, UINT16_MAX))
        return invalid(fmt::format("a port from 0 to {}, found '{}'", UINT16_MAX, port));
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
        host = host.substr(1, host.size() - 2);
    else if (host.find_first_of(":[]") != std::string_view::npos)
        return invalid("an IPv6 address in brackets, e.g. [2001:db8::7]:4444");
    return Endpoint{std::string(host), std::string(port)};
}

Result<Endpoint> Endpoint::parse_destination(std::string_view text) {
    GC_TRY(Endpoint endpoint, parse(text));
    if (endpoint.host.empty())
        return fail(ErrorKind::usage, "invalid address '{}' (expected a host before the port)",
                    text);
    if (parse_number(endpoint.port, 0, 0))
        return fail(ErrorKind::usage, "invalid address '{}' (expected a port from 1 to {})", text,
                    UINT16_MAX);
    return endpoint;
}

std::string Endpoint::str() const {
    return host.find(':') != std::string::npos ? fmt::format("[{}]:{}", host, port)
                                               : fmt::format("{}:{}", host, port);
}

Result<UniqueFd> tcp_connect(const Endpoint& to, Deadline deadline) {
    GC_TRY(const AddressList list, resolve(to, 0));
    int error = ECONNREFUSED;
    for (const addrinfo* a = list.get(); a != nullptr; a = a->ai_next) {
        UniqueFd fd(::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol));
        if (!fd) {
            error = errno;
            continue;
        }
        error = connect_by(fd.get(), a->ai_addr, a->ai_addrlen, deadline);
        if (error == 0) {
            set_up_connection(fd.get());
            return fd;
        }
    }
    return fail_errno(error, fmt::format("connect to {}", to.str()));
}

Result<bool> is_loopback(const Endpoint& endpoint, bool passive) {
    GC_TRY(const AddressList list, resolve(endpoint, passive ? AI_PASSIVE : 0));
    for (const addrinfo* a = list.get(); a != nullptr; a = a->ai_next) {
        const bool loopback =
            a->ai_family == AF_INET
                ? (ntohl(reinterpret_cast<const sockaddr_in*>(a->ai_addr)->sin_addr.s_addr) >>
                   IN_CLASSA_NSHIFT) == IN_LOOPBACKNET
                : IN6_IS_ADDR_LOOPBACK(
                      &reinterpret_cast<const sockaddr_in6*>(a->ai_addr)->sin6_addr);
        if (!loopback)
            return false;
    }
    return list != nullptr;
}

Result<UniqueFd> tcp_listen(const Endpoint& at) {
    GC_TRY(const AddressList list, resolve(at, AI_PASSIVE));
    int error = EADDRNOTAVAIL;
    for (const addrinfo* a = list.get(); a != nullptr; a = a->ai_next) {
        UniqueFd fd(::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol));
        if (fd) {
            set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
            if (::bind(fd.get(), a->ai_addr, a->ai_addrlen) == 0 &&
                ::listen(fd.get(), SOMAXCONN) == 0)
                return fd;
        }
        error = errno;
    }
    return fail_errno(error, fmt::format("listen on {}", at.str()));
}

Result<Endpoint> peer_endpoint(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        return fail_errno(errno, "getpeername");
    return numeric(address, size);
}

Result<std::uint16_t> local_port(int fd) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0)
        return fail_errno(errno, "getsockname");
    const auto port = address.ss_family == AF_INET6
                          ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                          : reinterpret_cast<const sockaddr_in&>(address).sin_port;
    return ntohs(port);
}

Result<UniqueFd> unix_connect(const std::string& path, Deadline deadline) {
    GC_TRY(const sockaddr_un address, unix_address(path));
    for (;;) {
        UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!fd)
            return fail_errno(errno, "socket");
        const int error = connect_by(fd.get(), reinterpret_cast<const sockaddr*>(&address),
                                     sizeof address, deadline);
        if (error == 0)
            return fd;
        // EAGAIN means a full backlog, which may drain.
        if (error != EAGAIN || deadline.expired())
            return fail_errno(error, fmt::format("connect to {}", path));
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

Result<AcceptedSocket> accept_peer(int listener) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    UniqueFd fd(::accept4(listener, reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC));
    if (!fd)
        return fail_errno(errno, "accept");
    set_up_connection(fd.get());
    const Endpoint from = numeric(address, size).value_or(Endpoint{"unknown", "0"});
    return AcceptedSocket{std::move(fd), from.str()};
}

Result<UniqueFd> accept_one(int listener, std::chrono::milliseconds timeout) {
    GC_TRY(const bool ready, wait_readable(listener, timeout));
    if (!ready)
        return fail(ErrorKind::io, "no connection within {} ms", timeout.count());
    UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd)
        return fail_errno(errno, "accept");
    set_up_connection(fd.get());
    return fd;
}

Result<void> send_file(int socket, int file, std::uint64_t offset, std::size_t size) {
    for (auto at = static_cast<off_t>(offset); size > 0;) {
        const ssize_t sent = ::sendfile(socket, file, &at, size);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return fail_errno(errno, "sendfile");
        if (sent == 0)
            return fail(ErrorKind::io, "sendfile: the file ends at byte {}", at);
        size -= static_cast<std::size_t>(sent);
    }
    return {};
}

std::uint64_t round_trip_us(int fd) {
    tcp_info info{};
    socklen_t size = sizeof info;
    return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ? 0 : info.tcpi_rtt;
}

void set_mark(int socket, std::uint32_t mark) {
    if (mark != 0)
        (void)::setsockopt(socket, SOL_SOCKET, SO_MARK, &mark, sizeof mark);
}

std::uint64_t queued_bytes(int fd, unsigned long queue) {
    int bytes = 0;
    return ::ioctl(fd, queue, &bytes) < 0 ? 0 : static_cast<std::uint64_t>(bytes);
}

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/outlet.h"

#include <algorithm>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace gc {

void Outlet::limit_unsent(std::uint64_t bytes) {
    if (bytes == unsent_limit_)
        return;
    const auto limit = static_cast<std::uint32_t>(bytes);
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &limit, sizeof limit);
    unsent_limit_ = bytes;
}

std::uint64_t Outlet::delivery_rate() const {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(fd_.get(), IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return 0;
    return info.tcpi_delivery_rate;
}

bool Outlet::writable() const {
    pollfd wait{fd_.get(), POLLOUT, 0};
    return ::poll(&wait, 1, 0) != 0;
}

std::uint64_t Outlet::sent() const {
    int unsent = 0;
    const std::uint64_t written = written_;
    // Of TCP only; on any other socket nothing waits.
    if (::ioctl(fd_.get(), SIOCOUTQNSD, &unsent) < 0)
        return written;
    return written - std::min(written, static_cast<std::uint64_t>(unsent));
}

void Outlet::mark(Class as) {
    const std::uint32_t mark = marks_[static_cast<std::size_t>(as)];
    if (mark == mark_)
        return;
    // It fails without CAP_NET_ADMIN only, and then there is no policy either.
    (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark);
    mark_ = mark;
}

void Outlet::hurry(std::uint64_t position) {
    const std::lock_guard lock(mark_mutex_);
    hurry_until_ = std::max(hurry_until_, position);
    mark(Class::urgent);
}

Result<void> Outlet::write(Class as, std::span<iovec> parts) {
    {
        const std::lock_guard lock(mark_mutex_);
        if (hurry_until_ != 0 && hurry_until_ <= sent())
            hurry_until_ = 0;
        mark(hurry_until_ != 0 ? Class::urgent : as);
        for (const iovec& part : parts)
            written_ += part.iov_len;
    }
    return write_all(fd_.get(), parts);
}

Result<void> Outlet::write_framed(Class as, link::FrameKind kind,
                                  std::span<const std::byte> bytes) {
    do {
        const auto frame = bytes.first(std::min(bytes.size(), link::max_frame));
        bytes = bytes.subspan(frame.size());
        std::array<iovec, 2> parts{{{}, {const_cast<std::byte*>(frame.data()), frame.size()}}};
        GC_CHECK(write_frame(as, bytes.empty() ? kind : link::FrameKind::stream, parts));
    } while (!bytes.empty());
    return {};
}

Result<void> Outlet::write_frame(Class as, link::FrameKind kind, std::span<iovec> parts) {
    std::size_t size = 0;
    for (const iovec& part : parts.subspan(1))
        size += part.iov_len;
    auto head = link::encode({kind, size});
    parts[0] = {head.data(), head.size()};
    return write(as, parts);
}

void Outlet::end() const {
    ::shutdown(fd_.get(), SHUT_WR);
}

void Outlet::shut_down() const {
    if (fd_)
        ::shutdown(fd_.get(), SHUT_RDWR);
}

}  // namespace gc

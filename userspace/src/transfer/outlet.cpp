// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/outlet.h"

#include "util/poll.h"
#include "util/socket.h"

#include <algorithm>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>  // TIOCOUTQ, which SIOCOUTQ is
#include <sys/socket.h>

namespace gc::transfer {
namespace {

std::size_t size_of(std::span<const iovec> parts, std::span<const FileRun> runs) {
    std::size_t size = 0;
    for (const iovec& part : parts)
        size += part.iov_len;
    for (const FileRun& run : runs)
        size += run.size;
    return size;
}

void set_unsent_limit(int socket, std::uint64_t bytes) {
    const auto limit = static_cast<std::uint32_t>(bytes);
    ::setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &limit, sizeof limit);
}

}  // namespace

Outlet::Outlet(peer::Channel* channel, const Marks& marks) : channel_(channel), marks_(marks) {
    if (channel_ != nullptr)
        channel_->on_attached([this](int socket) { set_up(socket); });
}

void Outlet::set_up(int socket) {
    if (const std::uint64_t bytes = unsent_limit_; bytes != 0)
        set_unsent_limit(socket, bytes);
    const std::lock_guard lock(mark_mutex_);
    set_mark(socket, mark_);
}

void Outlet::limit_unsent(std::uint64_t bytes) {
    if (unsent_limit_.exchange(bytes) != bytes)
        set_unsent_limit(socket(), bytes);
}

std::uint64_t Outlet::delivery_rate() const {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(socket(), IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return 0;
    return info.tcpi_delivery_rate;
}

bool Outlet::writable() const {
    return wait_for_events(socket(), POLLOUT, std::chrono::milliseconds(0)).value_or(true);
}

std::uint64_t Outlet::sent() const {
    const std::uint64_t written = written_;
    // SIOCOUTQNSD exists for TCP only; other sockets have no unsent queue.
    return written - std::min(written, queued_bytes(socket(), SIOCOUTQNSD));
}

std::uint64_t Outlet::in_flight() const {
    return channel_->in_flight();
}

void Outlet::mark(ledger::PageClass as) {
    const std::uint32_t mark = marks_[as];
    if (mark == mark_)
        return;
    mark_ = mark;
    set_mark(socket(), mark);
}

void Outlet::hurry(std::uint64_t position) {
    const std::lock_guard lock(mark_mutex_);
    hurry_until_ = std::max(hurry_until_, position);
    mark(ledger::PageClass::urgent);
}

Result<void> Outlet::write(ledger::PageClass as, std::span<iovec> parts,
                           std::span<const FileRun> runs, const HeldBytes& held) {
    {
        const std::lock_guard lock(mark_mutex_);
        if (hurry_until_ != 0 && hurry_until_ <= sent())
            hurry_until_ = 0;
        mark(hurry_until_ != 0 ? ledger::PageClass::urgent : as);
        written_ += size_of(parts, runs);
    }
    using More = peer::Channel::More;
    GC_CHECK(channel_->write(parts, runs.empty() ? More::no : More::yes, held));
    for (const FileRun& run : runs)
        GC_CHECK(channel_->send_file(run.file, run.offset, run.size,
                                     &run == &runs.back() ? More::no : More::yes, run.mapped));
    return {};
}

Result<void> Outlet::write_framed(ledger::PageClass as, peer::FrameKind kind,
                                  std::span<const iovec> parts, const HeldBytes& held) {
    std::vector<iovec> frame;
    std::size_t taken = 0;  // bytes of parts.front()
    do {
        frame.assign(1, {});
        for (std::size_t room = peer::max_frame; room > 0 && !parts.empty();) {
            const iovec& part = parts.front();
            const std::size_t size = std::min(room, part.iov_len - taken);
            frame.push_back({static_cast<std::byte*>(part.iov_base) + taken, size});
            room -= size;
            taken += size;
            if (taken == part.iov_len) {
                parts = parts.subspan(1);
                taken = 0;
            }
        }
        GC_CHECK(write_frame(as, parts.empty() ? kind : peer::FrameKind::stream, frame, {}, held));
    } while (!parts.empty());
    return {};
}

Result<void> Outlet::write_frame(ledger::PageClass as, peer::FrameKind kind, std::span<iovec> parts,
                                 std::span<const FileRun> runs, const HeldBytes& held) {
    auto head = peer::encode({kind, size_of(parts.subspan(1), runs)});
    parts[0] = {head.data(), head.size()};
    return write(as, parts, runs, held);
}

void Outlet::end() {
    if (channel_ != nullptr)
        channel_->end_writing();
}

void Outlet::shut_down() const {
    if (channel_ != nullptr)
        channel_->shut_down();
}

void Outlet::close() {
    if (channel_ == nullptr)
        return;
    channel_->close();
    channel_->on_attached(nullptr);
}

}  // namespace gc::transfer

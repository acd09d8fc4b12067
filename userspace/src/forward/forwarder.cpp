// SPDX-License-Identifier: GPL-2.0-or-later
#include "forward/forwarder.h"

#include "mirror/record.h"
#include "util/poll.h"
#include "util/socket.h"

#include <algorithm>

namespace gc::forward {
namespace {

using namespace std::chrono_literals;

/// Packets in one write.
constexpr unsigned max_batch = 32;
constexpr std::size_t max_batch_bytes = std::size_t{64} << 10;
constexpr auto look_interval = 20ms;
/// Between two looks at what the destination has taken.
constexpr auto room_interval = 1ms;
constexpr auto stop_timeout = 500ms;
/// Packets that are counted when nothing is sent any more.
constexpr unsigned max_rest = 20'000;

}  // namespace

Result<std::unique_ptr<Forwarder>> Forwarder::create(std::vector<mirror::Tap> taps,
                                                     peer::Channel& channel, std::uint32_t mark) {
    GC_TRY(Waker stop, Waker::create());
    // Early: the kernel needs a moment until it notes times.
    for (mirror::Tap& tap : taps)
        GC_CHECK(tap.socket.stamp());
    if (mark != 0)
        channel.on_attached([mark](int socket) { set_mark(socket, mark); });
    return std::unique_ptr<Forwarder>(new Forwarder(std::move(taps), channel, std::move(stop)));
}

Forwarder::~Forwarder() {
    stop();
}

Result<void> Forwarder::listen() {
    if (std::exchange(listening_, true))
        return {};
    for (mirror::Tap& tap : taps_)
        GC_CHECK(tap.socket.listen());
    return {};
}

void Forwarder::start(std::chrono::system_clock::time_point stopped) {
    stopped_ = stopped;
    thread_ = std::thread([this] { run(); });
}

void Forwarder::stop() {
    if (!thread_.joinable()) {
        channel_.end_reading();
        channel_.end_writing();
        return;
    }
    stopping_ = true;
    stop_.signal();
    for (const Deadline deadline(stop_timeout); !done_ && !deadline.expired();)
        std::this_thread::sleep_for(1ms);
    if (!done_)
        channel_.shut_down();  // it waits for a destination that takes nothing
    thread_.join();
}

std::optional<Error> Forwarder::error() const {
    const std::lock_guard lock(mutex_);
    return error_;
}

void Forwarder::run() {
    // The destination sends nothing: so the channel is over when the destination reads no more.
    channel_.end_reading();
    std::vector<pollfd> waits{{stop_.fd(), POLLIN, 0}};
    for (const mirror::Tap& tap : taps_)
        waits.push_back({tap.socket.fd(), POLLIN, 0});
    const auto lives = [](const pollfd& wait) { return wait.fd >= 0; };
    while (!stopping_ && Clock::now() < ends_at_.load() &&
           std::any_of(waits.begin() + 1, waits.end(), lives)) {
        if (!has_room()) {
            (void)wait_readable(stop_.fd(), room_interval);
            continue;
        }
        (void)poll_until(waits, look_interval);
        for (std::size_t i = 0; i < taps_.size(); ++i) {
            if (!lives(waits[i + 1]))
                continue;
            if (const auto drained = drain(taps_[i].socket); !drained) {
                waits[i + 1].fd = -1;  // the tap is gone, or the destination takes no more
                const std::lock_guard lock(mutex_);
                error_ = drained.error();
            }
        }
    }
    drop_rest();
    channel_.end_writing();
    done_ = true;
}

bool Forwarder::has_room() const {
    return channel_.unacknowledged() < max_in_flight &&
           wait_for_events(channel_.socket(), POLLOUT, 0ms).value_or(false);
}

Result<std::optional<std::span<const std::byte>>> Forwarder::take(mirror::PacketSocket& from) {
    GC_TRY(const auto size, from.receive(packet_));
    if (!size)
        return std::nullopt;
    if (*size < mirror::virtio_header || from.when() < stopped_)
        return std::span<const std::byte>{};
    return std::span<const std::byte>(packet_).first(*size);
}

Result<void> Forwarder::drain(mirror::PacketSocket& from) {
    batch_.clear();
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    for (unsigned i = 0; i < max_batch && batch_.size() < max_batch_bytes; ++i) {
        GC_TRY(const auto packet, take(from));
        if (!packet)
            break;
        if (packet->empty())
            continue;
        const auto head = mirror::record_head(mirror::RecordKind::packet, 0, packet->size());
        batch_.insert(batch_.end(), head.begin(), head.end());
        batch_.insert(batch_.end(), packet->begin(), packet->end());
        ++packets;
        bytes += packet->size() - mirror::virtio_header;
    }
    dropped_ += from.take_dropped();
    if (batch_.empty())
        return {};
    if (auto written = channel_.write(batch_); !written) {
        dropped_ += packets;
        return written;
    }
    packets_ += packets;
    bytes_ += bytes;
    return {};
}

void Forwarder::drop_rest() {
    for (mirror::Tap& tap : taps_) {
        for (unsigned i = 0; i < max_rest; ++i) {
            const auto packet = take(tap.socket);
            if (!packet || !*packet)
                break;
            dropped_ += (*packet)->empty() ? 0 : 1;
        }
        dropped_ += tap.socket.take_dropped();
    }
}

}  // namespace gc::forward

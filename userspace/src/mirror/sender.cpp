// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/sender.h"

#include "util/poll.h"

#include <algorithm>
#include <chrono>

namespace gc::mirror {
namespace {

using namespace std::chrono_literals;

/// Bytes on their way to the source. The second one is below what the channel keeps without
/// waiting.
constexpr std::uint64_t long_queue = std::uint64_t{512} << 10;
constexpr std::uint64_t full_queue = std::uint64_t{1} << 20;
static_assert(full_queue + 2 * max_packet < (std::uint64_t{2} << 20));
/// Packets in one write.
constexpr unsigned max_batch = 32;
constexpr std::size_t max_batch_bytes = std::size_t{64} << 10;
constexpr auto count_interval = 100ms;
constexpr auto stop_timeout = 500ms;

}  // namespace

Result<std::unique_ptr<Sender>> Sender::start(std::vector<Tap> taps, peer::Channel& channel) {
    GC_TRY(Waker stop, Waker::create());
    for (Tap& tap : taps)
        GC_CHECK(tap.socket.listen());
    std::unique_ptr<Sender> sender(new Sender(std::move(taps), channel, std::move(stop)));
    sender->thread_ = std::thread([raw = sender.get()] { raw->run(); });
    return sender;
}

Sender::~Sender() {
    stopping_ = true;
    stop_.signal();
    for (const Deadline deadline(stop_timeout); !done_ && !deadline.expired();)
        std::this_thread::sleep_for(1ms);
    if (!done_)
        channel_.shut_down();  // it waits for a source that takes nothing
    thread_.join();
}

void Sender::run() {
    // The source sends nothing: so the channel is over when the source reads no more.
    channel_.end_reading();
    std::vector<pollfd> waits{{stop_.fd(), POLLIN, 0}};
    for (const Tap& tap : taps_)
        waits.push_back({tap.socket.fd(), POLLIN, 0});
    bool over = false;
    while (!stopping_ && !over) {
        (void)poll_until(waits, count_interval);
        for (std::size_t i = 0; i < taps_.size(); ++i)
            if (waits[i + 1].fd >= 0 && !drain(static_cast<std::uint16_t>(i)))
                waits[i + 1].fd = -1;  // the tap is gone, or the source takes no more
        over = std::ranges::all_of(waits.begin() + 1, waits.end(),
                                   [](const pollfd& wait) { return wait.fd < 0; });
    }
    channel_.end_writing();
    done_ = true;
}

Queue Sender::queue() const {
    const std::uint64_t waits = channel_.unacknowledged() + batch_.size();
    if (waits > full_queue || !wait_for_events(channel_.socket(), POLLOUT, 0ms).value_or(false))
        return Queue::full;
    return waits > long_queue ? Queue::long_ : Queue::short_;
}

void Sender::append(RecordKind kind, std::uint16_t nic, std::span<const std::byte> content) {
    const auto head = record_head(kind, nic, content.size());
    batch_.insert(batch_.end(), head.begin(), head.end());
    batch_.insert(batch_.end(), content.begin(), content.end());
}

Result<bool> Sender::take_packet(std::uint16_t nic) {
    GC_TRY(const auto size, taps_[nic].socket.receive(packet_));
    if (!size)
        return false;
    const std::span packet = std::span(packet_).first(*size);
    if (packet.size() < virtio_header)
        return true;
    const auto frame = packet.subspan(virtio_header);
    if (limit_.admit(parse(nic, frame, From::client), packet.size(), queue()))
        append(RecordKind::packet, nic, packet);
    else if (batch_.size() + channel_.unacknowledged() < full_queue)
        append(RecordKind::left_out, nic, frame.first(std::min(frame.size(), max_headers)));
    return true;
}

Result<void> Sender::drain(std::uint16_t nic) {
    batch_.clear();
    for (unsigned packets = 0; packets < max_batch && batch_.size() < max_batch_bytes; ++packets) {
        GC_TRY(const bool taken, take_packet(nic));
        if (!taken)
            break;
    }
    if (const std::uint64_t lost = taps_[nic].socket.take_dropped(); lost > 0) {
        std::array<std::byte, 8> number{};
        for (std::size_t i = 0; i < number.size(); ++i)
            number[i] = static_cast<std::byte>(lost >> (56 - 8 * i) & 0xff);
        append(RecordKind::lost, nic, number);
    }
    return batch_.empty() ? Result<void>{} : channel_.write(batch_);
}

}  // namespace gc::mirror

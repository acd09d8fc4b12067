// SPDX-License-Identifier: GPL-2.0-or-later
// At the source: sends what arrives for the VM, from its STOP on, after it to the destination, so
// that no client has to send it again.
//
// The tap's own queue is of no use for that. It also holds what the VM had not read at its STOP,
// but not the first packet after it: a stopped QEMU still reads that one, and keeps it
// (qemu_net_queue_send() in net/queue.c, 7.2). A packet socket sees all, those before the STOP as
// well; the kernel's time of each says which those are.
#pragma once

#include "mirror/taps.h"
#include "peer/channel.h"
#include "util/mailbox.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace gc::forward {

struct ForwarderCounts {
    std::uint64_t packets = 0;  ///< sent to the destination
    std::uint64_t bytes = 0;    ///< of them
    std::uint64_t dropped = 0;  ///< for which there was no room, or no time
};

class Forwarder {
  public:
    using Clock = std::chrono::steady_clock;

    /// How long packets may still arrive here once the VM runs at the destination: for the network
    /// to learn where the VM is now.
    static constexpr std::chrono::milliseconds tail{500};
    /// Bytes on their way to the destination. More waits in the kernel's queue, of 8 MiB for each
    /// NIC, which drops what does not fit.
    static constexpr std::uint64_t max_in_flight = std::uint64_t{256} << 10;

    /// @param mark of the packets that carry it, see SO_MARK; 0 means none. Errors: io.
    static Result<std::unique_ptr<Forwarder>> create(std::vector<mirror::Tap> taps,
                                                     peer::Channel& channel, std::uint32_t mark);
    /// Sends nothing more.
    ~Forwarder();
    Forwarder(const Forwarder&) = delete;
    Forwarder& operator=(const Forwarder&) = delete;

    [[nodiscard]] std::size_t nics() const { return taps_.size(); }
    /// The kernel queues what arrives from here on. To be called before the VM is stopped; again
    /// without effect. Errors: io.
    Result<void> listen();
    /// The VM never runs here again: sends what has arrived since it was stopped, and what comes.
    void start(std::chrono::system_clock::time_point stopped);
    /// The VM runs at the destination: `tail` begins.
    void resumed() { ends_at_ = Clock::now() + tail; }
    /// Ends it. From the thread that made it, as the others.
    void stop();

    [[nodiscard]] bool listens() const { return listening_; }
    /// Whether it has been started, and has ended by itself.
    [[nodiscard]] bool done() const { return done_; }
    [[nodiscard]] ForwarderCounts counts() const { return {packets_, bytes_, dropped_}; }
    /// Why it ended early, if it did. From any thread.
    [[nodiscard]] std::optional<Error> error() const;

  private:
    Forwarder(std::vector<mirror::Tap> taps, peer::Channel& channel, Waker stop)
        : taps_(std::move(taps)), channel_(channel), stop_(std::move(stop)) {}

    void run();
    [[nodiscard]] bool has_room() const;
    /// Sends what is queued of a NIC, at most some dozen packets.
    Result<void> drain(mirror::PacketSocket& from);
    /// @return the packet, empty if it came before the STOP; nullopt if none is queued
    Result<std::optional<std::span<const std::byte>>> take(mirror::PacketSocket& from);
    void drop_rest();

    std::vector<mirror::Tap> taps_;
    peer::Channel& channel_;
    Waker stop_;
    bool listening_ = false;
    std::chrono::system_clock::time_point stopped_{};  ///< the VM
    std::vector<std::byte> packet_ = std::vector<std::byte>(mirror::max_packet + mirror::tag_size);
    std::vector<std::byte> batch_;
    std::atomic<Clock::time_point> ends_at_ = Clock::time_point::max();
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> done_ = false;
    std::atomic<std::uint64_t> packets_ = 0, bytes_ = 0, dropped_ = 0;
    mutable std::mutex mutex_;  ///< protects the next one
    std::optional<Error> error_;
    std::thread thread_;
};

}  // namespace gc::forward

// SPDX-License-Identifier: GPL-2.0-or-later
// At the destination: gives the VM's taps what arrived for it at the source while it stood still.
#pragma once

#include "mirror/packet_socket.h"
#include "mirror/record.h"
#include "mirror/taps.h"
#include "peer/channel.h"
#include "util/mailbox.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace gc::forward {

struct DelivererCounts {
    std::uint64_t packets = 0;  ///< that the taps took
    std::uint64_t refused = 0;  ///< that they did not take, or that are for none of the VM's NICs
};

class Deliverer {
  public:
    /// A NIC of the VM.
    struct Port {
        mirror::Mac mac{};
        mirror::PacketSocket socket;
    };
    /// Errors: unsupported, io.
    static Result<std::vector<Port>> open(const std::vector<mirror::Tap>& taps);

    /// Delivers what comes from here on. What comes before the VM runs waits in the tap, as if the
    /// network had brought it. Errors: io.
    static Result<std::unique_ptr<Deliverer>> start(std::vector<Port> ports,
                                                    peer::Channel& channel);
    ~Deliverer();
    Deliverer(const Deliverer&) = delete;
    Deliverer& operator=(const Deliverer&) = delete;

    /// From any thread.
    [[nodiscard]] DelivererCounts counts() const { return {packets_, refused_}; }
    /// What was wrong with what the source sent, if it was. From any thread.
    [[nodiscard]] std::optional<Error> error() const;

  private:
    Deliverer(std::vector<Port> ports, peer::Channel& channel, Waker stop)
        : ports_(std::move(ports)), channel_(channel), stop_(std::move(stop)) {}

    void run();
    Result<void> take(const mirror::Record& record);
    void deliver(std::span<const std::byte> packet);

    std::vector<Port> ports_;
    peer::Channel& channel_;
    Waker stop_;
    mirror::RecordReader reader_{"forward"};
    std::atomic<bool> stopping_ = false;
    std::atomic<std::uint64_t> packets_ = 0, refused_ = 0;
    mutable std::mutex mutex_;  ///< protects the next one
    std::optional<Error> error_;
    std::thread thread_;
};

}  // namespace gc::forward

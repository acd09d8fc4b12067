// SPDX-License-Identifier: GPL-2.0-or-later
// At the destination: sends a copy of each packet that arrives for the VM to the source. The VM's
// own path never waits for it.
#pragma once

#include "mirror/flow_limit.h"
#include "mirror/record.h"
#include "mirror/taps.h"
#include "peer/channel.h"
#include "util/mailbox.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace gc::mirror {

class Sender {
  public:
    /// Copies what arrives from here on. Errors: io.
    static Result<std::unique_ptr<Sender>> start(std::vector<Tap> taps, peer::Channel& channel);
    /// Sends nothing more.
    ~Sender();
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

  private:
    Sender(std::vector<Tap> taps, peer::Channel& channel, Waker stop)
        : taps_(std::move(taps)), channel_(channel), stop_(std::move(stop)) {}

    void run();
    /// Sends what is queued, at most some dozen packets.
    Result<void> drain(std::uint16_t nic);
    Result<bool> take_packet(std::uint16_t nic);
    [[nodiscard]] Queue queue() const;
    void append(RecordKind kind, std::uint16_t nic, std::span<const std::byte> content);

    std::vector<Tap> taps_;
    peer::Channel& channel_;
    Waker stop_;
    FlowLimit limit_;
    std::vector<std::byte> packet_ = std::vector<std::byte>(max_packet + tag_size);
    std::vector<std::byte> batch_;
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> done_ = false;
    std::thread thread_;
};

}  // namespace gc::mirror

// SPDX-License-Identifier: GPL-2.0-or-later
// Copies bytes between a channel and QEMU's unix socket, one thread for each direction.
#pragma once

#include "peer/channel.h"

#include <chrono>
#include <functional>
#include <future>
#include <span>
#include <thread>

namespace gc::receive {

/// Called with the bytes of one direction, in order. Runs in the thread that forwards them.
using Tap = std::function<void(std::span<const std::byte>)>;

/// Copies from one side to the other until the end of the stream or an error. Then it ends the
/// writing side of `to`, which passes the end of one side on to the other. It owns neither.
class ByteRelay {
  public:
    /// @param tap called after the bytes were forwarded
    ByteRelay(peer::Channel& from, peer::Connection& to, Tap tap);
    /// @param tap called before the bytes are forwarded: the answer may come at any time after that
    ByteRelay(peer::Connection& from, peer::Channel& to, Tap tap);
    /// Stops the thread and waits for it.
    ~ByteRelay();
    ByteRelay(const ByteRelay&) = delete;
    ByteRelay& operator=(const ByteRelay&) = delete;

    /// Waits until `from` has ended by itself and everything was forwarded. @return whether it has
    [[nodiscard]] bool wait_end(std::chrono::milliseconds timeout) const;
    /// Ends the copying, and both sides. From any thread.
    void stop() const { stop_(); }

  private:
    template <typename From, typename To> void start(From& from, To& to, Tap before, Tap after);

    std::function<void()> stop_;
    std::promise<void> ending_;
    std::future<void> ended_;
    std::thread thread_;
};

}  // namespace gc::receive

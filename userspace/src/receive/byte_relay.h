// SPDX-License-Identifier: GPL-2.0-or-later
// Copies bytes between a channel and QEMU's unix socket, one thread for each direction.
#pragma once

#include "peer/connection.h"

#include <chrono>
#include <functional>
#include <future>
#include <span>
#include <thread>

namespace gc::receive {

/// Called with the bytes of one direction, in order, after they were forwarded. Runs in the thread
/// that forwards them.
using Tap = std::function<void(std::span<const std::byte>)>;

/// Copies from one connection to another until the end of the stream or an error. Then it ends the
/// writing side of `to`, which passes the end of one connection on to the other. It does not own
/// the connections.
class ByteRelay {
  public:
    ByteRelay(peer::Connection& from, peer::Connection& to, Tap tap);
    /// Stops the thread and waits for it.
    ~ByteRelay();
    ByteRelay(const ByteRelay&) = delete;
    ByteRelay& operator=(const ByteRelay&) = delete;

    /// Waits until `from` has ended by itself and everything was forwarded. @return whether it has
    [[nodiscard]] bool wait_end(std::chrono::milliseconds timeout) const;
    /// Ends the copying, and both connections. From any thread.
    void stop() const;

  private:
    peer::Connection& from_;
    peer::Connection& to_;
    std::promise<void> ending_;
    std::future<void> ended_;
    std::thread thread_;
};

}  // namespace gc::receive

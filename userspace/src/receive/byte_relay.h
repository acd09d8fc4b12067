// SPDX-License-Identifier: GPL-2.0-or-later
// Copies bytes between a TCP connection and QEMU's unix socket, one thread for each direction.
#pragma once

#include "util/fd.h"

#include <chrono>
#include <functional>
#include <future>
#include <span>
#include <thread>

namespace gc::receive {

/// Called with the bytes of one direction, in order, after they were forwarded. Runs in the thread
/// that forwards them.
using Tap = std::function<void(std::span<const std::byte>)>;

/// Copies from one socket to another until end of file or an error. Then it shuts down the writing
/// side of `to`, which passes the end of one connection on to the other. It does not own the
/// descriptors.
class ByteRelay {
  public:
    ByteRelay(int from, int to, Tap tap);
    /// Stops the thread and waits for it.
    ~ByteRelay();
    ByteRelay(const ByteRelay&) = delete;
    ByteRelay& operator=(const ByteRelay&) = delete;

    /// Waits until `from` has ended by itself and everything was forwarded. @return whether it has
    [[nodiscard]] bool wait_end(std::chrono::milliseconds timeout) const;
    /// Ends the copying. From any thread.
    void stop() const;

  private:
    int from_;
    int to_;
    std::promise<void> ending_;
    std::future<void> ended_;
    std::thread thread_;
};

}  // namespace gc::receive

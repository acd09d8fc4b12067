// SPDX-License-Identifier: GPL-2.0-or-later
// Carries QEMU's bytes between a TCP connection and QEMU's unix socket, one direction a thread.
#pragma once

#include "util/fd.h"

#include <chrono>
#include <functional>
#include <future>
#include <span>
#include <thread>

namespace gc::receive {

/// Sees the bytes of one direction in order, after they were handed on. Runs in the relay's thread.
using Tap = std::function<void(std::span<const std::byte>)>;

/// Copies from one socket to another until end of file or an error, then shuts the writing side of
/// `to` down, so that the end of the one connection is the end of the other. Neither descriptor is
/// owned.
class ByteRelay {
  public:
    ByteRelay(int from, int to, Tap tap);
    /// Waits for the thread: the caller shuts `from` down first (see stop()).
    ~ByteRelay();
    ByteRelay(const ByteRelay&) = delete;
    ByteRelay& operator=(const ByteRelay&) = delete;

    /// Waits until `from` has ended by itself and all of it was handed on. @return whether it has
    [[nodiscard]] bool wait_end(std::chrono::milliseconds timeout) const;
    /// Ends the copying from any thread.
    void stop() const;

  private:
    int from_;
    int to_;
    std::promise<void> ending_;
    std::future<void> ended_;
    std::thread thread_;
};

}  // namespace gc::receive

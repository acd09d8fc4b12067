// SPDX-License-Identifier: GPL-2.0-or-later
// libvirt's own event loop, in a thread. A process has one for all connections.
#pragma once

#include "libvirt/library.h"

#include <atomic>
#include <memory>
#include <thread>

namespace gc::libvirt {

class EventLoop {
  public:
    /// The event loop that runs, or else a new one. Call it before a connection is opened.
    /// Thread-safe.
    static Result<std::shared_ptr<EventLoop>> shared(const Library& library);
    ~EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;

  private:
    static Result<std::shared_ptr<EventLoop>> start(const Library& library);
    EventLoop(const Library& library, int timer) : library_(library), timer_(timer) {}

    const Library& library_;
    int timer_;  ///< wakes the thread
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

}  // namespace gc::libvirt

// SPDX-License-Identifier: GPL-2.0-or-later
// The thread that keeps the channels of a migration alive.
#pragma once

#include "peer/channel.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace gc::peer {

/// Calls Channel::tick() of each channel.
class Heartbeat {
  public:
    /// @param channels must live longer
    explicit Heartbeat(std::vector<Channel*> channels)
        : channels_(std::move(channels)), thread_([this] { run(); }) {}
    ~Heartbeat() {
        {
            const std::lock_guard lock(mutex_);
            ending_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }
    Heartbeat(const Heartbeat&) = delete;
    Heartbeat& operator=(const Heartbeat&) = delete;

  private:
    void run() {
        std::unique_lock lock(mutex_);
        while (!changed_.wait_for(lock, Channel::tick_interval, [this] { return ending_; }))
            for (Channel* channel : channels_)
                channel->tick(Channel::Clock::now());
    }

    const std::vector<Channel*> channels_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool ending_ = false;
    std::thread thread_;
};

}  // namespace gc::peer

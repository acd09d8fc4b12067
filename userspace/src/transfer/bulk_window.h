// SPDX-License-Identifier: GPL-2.0-or-later
// Limits the bulk pages in flight. A page that was sent cannot be sent again on a faster channel
// when the VM comes to need it: the VM then waits for everything sent before it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <limits>
#include <utility>

namespace gc::transfer {

/// Limits pages in flight so that none waits longer than one RTT plus `queue_time`. The limit
/// follows from how long a frame took and how many pages were in flight with it; the RTT is the
/// shortest of the last few seconds. The unit is pages: a zero page costs the destination as much
/// as a data page, and the network almost nothing. Not thread-safe.
class BulkWindow {
  public:
    using Clock = std::chrono::steady_clock;

    /// How long a page may wait behind others of its channel.
    static constexpr std::chrono::milliseconds queue_time{10};
    /// Measurements are forgotten after this time, at the latest after twice this time.
    static constexpr std::chrono::seconds memory{2};
    /// The limit never falls below this, in pages.
    static constexpr std::uint64_t min_limit = 4;
    /// The limit before anything is measured, in pages.
    static constexpr std::uint64_t start_limit = 16;

    [[nodiscard]] bool open() const { return draining_ ? in_flight_ == 0 : in_flight_ < limit_; }
    [[nodiscard]] std::uint64_t limit() const { return limit_; }
    /// Pages to send at once. Few on a slow path, because the window is overrun by up to this many.
    /// Not simply as many as fit: frames would become smaller and smaller.
    [[nodiscard]] std::uint64_t piece() const { return std::max<std::uint64_t>(1, limit_ / 4); }

    /// A frame with `pages` pages is being sent.
    void sent(std::uint64_t pages, Clock::time_point now) {
        draining_ = false;
        in_flight_ += pages;
        frames_.push_back({pages, in_flight_, now});
    }

    /// The destination has taken the oldest frame.
    void acknowledged(Clock::time_point now) {
        if (frames_.empty())
            return;  // a surplus acknowledgement by the peer does no harm
        const Frame frame = frames_.front();
        frames_.pop_front();
        in_flight_ -= frame.pages;
        forget(now);
        const double took = seconds(now - frame.at);
        newest_ = std::min(newest_, took);
        const double may_take = probing_gain * std::min(newest_, older_) + seconds(queue_time);
        const auto fits =
            static_cast<std::uint64_t>(static_cast<double>(frame.in_flight) * may_take / took);
        // A frame that met less than the limit in flight is no reason to lower it. A fast frame may
        // have held zeros, so the limit grows by at most one frame at a time.
        limit_ = took > may_take ? std::clamp(fits, min_limit, limit_)
                                 : std::max(limit_, std::min(fits, limit_ + frame.pages));
    }

  private:
    struct Frame {
        std::uint64_t pages;
        std::uint64_t in_flight;  ///< pages in flight when it was sent, its own included
        Clock::time_point at;
    };
    /// On a long path, where it exceeds queue_time: finds out within a few round trips that the
    /// path carries more.
    static constexpr double probing_gain = 1.25;
    static constexpr std::chrono::microseconds min_elapsed{1};

    static double seconds(Clock::duration duration) {
        return std::chrono::duration<double>(std::max<Clock::duration>(duration, min_elapsed))
            .count();
    }

    /// The RTT includes what others have queued on the path, but must not include our own queue. So
    /// now and then a frame is sent with none of ours in flight.
    void forget(Clock::time_point now) {
        if (now < forget_at_)
            return;
        forget_at_ = now + memory;
        older_ = std::exchange(newest_, std::numeric_limits<double>::infinity());
        draining_ = true;
    }

    std::deque<Frame> frames_;  ///< in flight
    std::uint64_t in_flight_ = 0;
    /// The shortest round trips of the current and the previous period, in seconds.
    double newest_ = std::numeric_limits<double>::infinity();
    double older_ = std::numeric_limits<double>::infinity();
    Clock::time_point forget_at_;
    bool draining_ = false;  ///< nothing is sent until nothing is in flight
    std::uint64_t limit_ = start_limit;
};

}  // namespace gc::transfer

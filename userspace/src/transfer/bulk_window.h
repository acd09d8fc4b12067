// SPDX-License-Identifier: GPL-2.0-or-later
// How much of what may wait is on its way at once. A page that was sent cannot be sent again, on a
// faster channel, when the VM comes to need it: then the VM waits for all that went before it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <limits>
#include <utility>

namespace gc::transfer {

/// Lets so many pages be under way that none is for longer than a round trip and `queue_time`. From
/// how long a frame was, and how much was under way with it, follows how much may be; the shortest
/// round trip of the last seconds counts. In pages, as one of zeros costs the destination as much
/// as one of data, and next to nothing on the way. Not thread-safe.
class BulkWindow {
  public:
    using Clock = std::chrono::steady_clock;

    /// What a page may wait for behind others of its channel.
    static constexpr std::chrono::milliseconds queue_time{10};
    /// What was measured is forgotten after this time, and before twice of it is over.
    static constexpr std::chrono::seconds memory{2};
    /// Always allowed, in pages; and before anything is measured.
    static constexpr std::uint64_t least = 4;
    static constexpr std::uint64_t start = 16;

    [[nodiscard]] bool open() const { return draining_ ? in_flight_ == 0 : in_flight_ < limit_; }
    [[nodiscard]] std::uint64_t limit() const { return limit_; }
    /// Pages to send at once: on a slow path few, as the window is passed by as many; but not as
    /// many as happen to fit, or they would become fewer and fewer.
    [[nodiscard]] std::uint64_t piece() const { return std::max<std::uint64_t>(1, limit_ / 4); }

    /// A frame with so many pages leaves.
    void sent(std::uint64_t pages, Clock::time_point now) {
        draining_ = false;
        in_flight_ += pages;
        frames_.push_back({pages, in_flight_, now});
    }

    /// The destination has taken the oldest frame.
    void acknowledged(Clock::time_point now) {
        if (frames_.empty())
            return;  // the peer says more than it should, which does no harm
        const Frame frame = frames_.front();
        frames_.pop_front();
        in_flight_ -= frame.pages;
        forget(now);
        const double took = seconds(now - frame.at);
        newest_ = std::min(newest_, took);
        const double may_take = probing_gain * std::min(newest_, older_) + seconds(queue_time);
        const auto fits =
            static_cast<std::uint64_t>(static_cast<double>(frame.under_way) * may_take / took);
        // What was less than the limit says nothing against that; and what was quick may have been
        // of zeros: so not at once to what would fit.
        limit_ = took > may_take ? std::clamp(fits, least, limit_)
                                 : std::max(limit_, std::min(fits, limit_ + frame.pages));
    }

  private:
    struct Frame {
        std::uint64_t pages;
        std::uint64_t under_way;  ///< pages, with its own, when it left
        Clock::time_point at;
    };
    /// On a long path, where it is more than queue_time is: finds out within a few round trips that
    /// the path carries more.
    static constexpr double probing_gain = 1.25;
    static constexpr std::chrono::microseconds min_elapsed{1};

    static double seconds(Clock::duration duration) {
        return std::chrono::duration<double>(std::max<Clock::duration>(duration, min_elapsed))
            .count();
    }

    /// What others have queued on the path counts as the path; what we have does not: so now and
    /// then a frame leaves when there is none of ours.
    void forget(Clock::time_point now) {
        if (now < forget_at_)
            return;
        forget_at_ = now + memory;
        older_ = std::exchange(newest_, std::numeric_limits<double>::infinity());
        draining_ = true;
    }

    std::deque<Frame> frames_;  ///< on their way
    std::uint64_t in_flight_ = 0;
    /// Round trips, the shortest of their time; seconds.
    double newest_ = std::numeric_limits<double>::infinity();
    double older_ = std::numeric_limits<double>::infinity();
    Clock::time_point forget_at_;
    bool draining_ = false;  ///< nothing leaves until all is taken
    std::uint64_t limit_ = start;
};

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
// How much of what may wait is on its way at once. A page that was sent cannot be sent again, on a
// faster channel, when the VM comes to need it: then the VM waits for all that went before it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>

namespace gc {

/// Lets so many pages be under way as the destination takes in a round trip of an empty path and
/// `queue_time`, as measured: as BBR does for packets. In pages, as one of zeros costs the
/// destination as much as one of data, and next to nothing on the way. Not thread-safe.
class BulkWindow {
  public:
    using Clock = std::chrono::steady_clock;

    /// What a page may wait for behind others of its channel.
    static constexpr std::chrono::milliseconds queue_time{10};
    /// Always allowed, in pages; and before anything is measured.
    static constexpr std::uint64_t least = 4;
    static constexpr std::uint64_t start = 16;

    [[nodiscard]] bool open() const { return in_flight_ < limit_; }
    [[nodiscard]] std::uint64_t limit() const { return limit_; }
    /// Pages to send at once: on a slow path few, as the window is passed by as many; but not as
    /// many as happen to fit, or they would become fewer and fewer.
    [[nodiscard]] std::uint64_t piece() const { return std::max<std::uint64_t>(1, limit_ / 4); }

    /// A frame with so many pages leaves.
    void sent(std::uint64_t pages, Clock::time_point now) {
        frames_.push_back({pages, taken_, now});
        in_flight_ += pages;
    }

    /// The destination has taken the oldest frame.
    void acknowledged(Clock::time_point now) {
        if (frames_.empty())
            return;  // the peer says more than it should, which does no harm
        const Frame frame = frames_.front();
        frames_.pop_front();
        in_flight_ -= frame.pages;
        taken_ += frame.pages;
        const double elapsed = seconds(std::max<Clock::duration>(now - frame.at, min_elapsed));
        round_trip_ = std::min(round_trip_, elapsed);
        const double rate = static_cast<double>(taken_ - frame.taken_before) / elapsed;
        rate_ += (rate - rate_) / smoothing;
        limit_ = std::max(least,
                          static_cast<std::uint64_t>(rate_ * (round_trip_ + seconds(queue_time))));
    }

  private:
    struct Frame {
        std::uint64_t pages;
        std::uint64_t taken_before;  ///< by the destination when it left
        Clock::time_point at;
    };
    static constexpr double smoothing = 8;
    static constexpr std::chrono::microseconds min_elapsed{1};

    static double seconds(Clock::duration duration) {
        return std::chrono::duration<double>(duration).count();
    }

    std::deque<Frame> frames_;  ///< on their way
    std::uint64_t in_flight_ = 0;
    std::uint64_t taken_ = 0;
    double rate_ = 0;         ///< pages per second
    double round_trip_ = 10;  ///< seconds; the shortest seen
    std::uint64_t limit_ = start;
};

}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <chrono>
#include <climits>

namespace gc {
inline namespace util {

/// The point in time at which a wait ends.
class Deadline {
  public:
    using Clock = std::chrono::steady_clock;

    /// A timeout that starts now. Implicit, so that functions with a deadline accept a timeout.
    template <typename Rep, typename Period>
    Deadline(std::chrono::duration<Rep, Period> timeout)
        : end_(Clock::now() + std::chrono::ceil<Clock::duration>(timeout)) {}
    explicit Deadline(Clock::time_point end) : end_(end) {}
    static Deadline never() { return Deadline(Clock::time_point::max()); }

    [[nodiscard]] bool expired() const { return Clock::now() >= end_; }

    /// The remaining time, or 0. Rounded up: rounding down would spin through the last millisecond.
    [[nodiscard]] std::chrono::milliseconds left() const {
        using std::chrono::milliseconds;
        return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(end_ - Clock::now()));
    }
    /// The remaining time for poll(2), which takes an int: at most 24 days.
    [[nodiscard]] int left_ms() const {
        return static_cast<int>(std::min<std::chrono::milliseconds::rep>(left().count(), INT_MAX));
    }

  private:
    Clock::time_point end_;
};

}  // namespace util
}  // namespace gc

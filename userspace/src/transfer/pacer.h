// SPDX-License-Identifier: GPL-2.0-or-later
// `--bandwidth`: when the next bytes may be sent, by earliest departure time.
#pragma once

#include <chrono>
#include <cstdint>

namespace gc::transfer {

/// Not thread-safe: its owner serialises the channel it paces.
class Pacer {
  public:
    using Clock = std::chrono::steady_clock;

    /// @param bytes_per_second 0 means no limit
    explicit Pacer(std::uint64_t bytes_per_second = 0) : rate_(bytes_per_second) {}

    /// How long to wait before anything more may be sent; zero if it may be sent now.
    [[nodiscard]] Clock::duration wait(Clock::time_point now) const {
        return departure_ > now ? departure_ - now : Clock::duration::zero();
    }

    /// Accounts for bytes sent at `now`. Unused time is not saved up.
    void spend(std::uint64_t bytes, Clock::time_point now) {
        if (rate_ == 0)
            return;
        const auto cost = std::chrono::duration_cast<Clock::duration>(
            std::chrono::duration<double>(static_cast<double>(bytes) / static_cast<double>(rate_)));
        departure_ = (departure_ > now ? departure_ : now) + cost;
    }

  private:
    std::uint64_t rate_;
    Clock::time_point departure_{};
};

}  // namespace gc::transfer

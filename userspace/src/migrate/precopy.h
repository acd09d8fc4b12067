// SPDX-License-Identifier: GPL-2.0-or-later
// How long the source QEMU sends memory while the VM still runs.
#pragma once

#include "migrate/source_qemu.h"
#include "report/report.h"

#include <chrono>
#include <cstdint>
#include <optional>

namespace gc::migrate {

/// What the user allows. Without any there is no pre-copy.
struct PrecopyLimits {
    bool automatic = false;             ///< as long as rounds pay
    unsigned rounds = 0;                ///< 0 means no limit, as below
    std::chrono::milliseconds time{0};  ///< from the start of pre-copy
    std::uint64_t bytes = 0;            ///< sent by pre-copy

    [[nodiscard]] bool any() const {
        return automatic || rounds > 0 || time.count() > 0 || bytes > 0;
    }
};

/// Decides when pre-copy ends. In each round QEMU sends what the VM has written since it was sent
/// last; nothing is known of a round before it begins.
class Precopy {
  public:
    using Clock = std::chrono::steady_clock;

    /// A round pays if it leaves less than this many quarters of what was left before it. If it
    /// leaves as much, nearly all that it sent has to be sent again.
    static constexpr std::uint64_t quarters_left = 3;
    /// What the link carries in this time is not worth another round: a VM that runs at the
    /// destination waits for no more than some of it.
    static constexpr std::chrono::milliseconds little{50};

    explicit Precopy(PrecopyLimits limits) : limits_(limits) {}

    void begin(Clock::time_point now) { begun_ = now; }
    /// Whether over() needs to know of the rounds.
    [[nodiscard]] bool counts_rounds() const { return limits_.automatic || limits_.rounds > 0; }
    /// @param progress if counts_rounds(), and QEMU has begun to send
    /// @param sent bytes until now
    /// @return why pre-copy is over; nullopt while it is not
    std::optional<report::PrecopyEnd> over(const std::optional<PrecopyProgress>& progress,
                                           std::uint64_t sent, Clock::time_point now);

    /// The rounds seen so far. Ones that are shorter than the time between two calls are missed.
    [[nodiscard]] const report::PrecopyReport& report() const { return report_; }

  private:
    [[nodiscard]] bool is_little(std::uint64_t bytes, std::uint64_t sent,
                                 Clock::time_point now) const;

    PrecopyLimits limits_;
    Clock::time_point begun_{};
    unsigned round_ = 0;
    report::PrecopyReport report_;
};

}  // namespace gc::migrate

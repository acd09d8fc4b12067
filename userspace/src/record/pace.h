// SPDX-License-Identifier: GPL-2.0-or-later
// The length of a recording's epochs.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace gc::record {

/// The length that the user chose. Otherwise, a length such that ending an epoch takes at most one
/// percent of a CPU, however large the VM or small its pages.
class Pace {
  public:
    using Length = std::chrono::milliseconds;
    static constexpr Length min_length{1000};
    static constexpr int min_length_per_cost = 100;  ///< 100 times the cost: one percent of a CPU

    explicit Pace(std::optional<Length> fixed) : fixed_(fixed) {}

    /// @param cost CPU time that ending the last epoch took
    void ended(std::chrono::nanoseconds cost) {
        length_ = std::max(min_length, std::chrono::ceil<Length>(min_length_per_cost * cost));
    }

    /// The length of the epoch in progress.
    [[nodiscard]] Length length() const { return fixed_.value_or(length_); }

  private:
    std::optional<Length> fixed_;
    Length length_ = min_length;
};

}  // namespace gc::record

// SPDX-License-Identifier: GPL-2.0-or-later
// How long the epochs of a recording are.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

namespace gc::record {

/// As long as the user says; else so long that what it costs to end one is at most one percent of
/// a CPU, be the VM big or its pages small.
class Pace {
  public:
    using Length = std::chrono::milliseconds;
    static constexpr Length shortest{1000};
    static constexpr int share = 100;

    explicit Pace(std::optional<Length> fixed) : fixed_(fixed) {}

    /// @param cost CPU time that it took to end the last epoch
    void ended(std::chrono::nanoseconds cost) {
        length_ = std::max(shortest, std::chrono::ceil<Length>(share * cost));
    }

    /// Of the epoch under way.
    [[nodiscard]] Length length() const { return fixed_.value_or(length_); }

  private:
    std::optional<Length> fixed_;
    Length length_ = shortest;
};

}  // namespace gc::record

// SPDX-License-Identifier: GPL-2.0-or-later
// Durations as reports give them.
#pragma once

#include <chrono>

namespace gc {
inline namespace util {

/// In milliseconds, with fractions.
template <typename Rep, typename Period>
constexpr double in_ms(std::chrono::duration<Rep, Period> duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
// The pages of a trace that are worth sending first.
#pragma once

#include "trace/trace.h"

namespace gc::trace {

/// Every touched page once, hottest first. The heat of a page is the sum of the numbers, from 1, of
/// the epochs that touched it, so both frequency and recency count. Among pages of equal heat,
/// those touched earlier in their last epoch come first.
/// 16 GiB of memory. What is less hot goes with the background, and its order matters little.
inline constexpr std::size_t max_hot_pages = std::size_t{1} << 22;

std::vector<Place> hot_set(const Trace& trace, std::size_t max_pages = max_hot_pages);

}  // namespace gc::trace

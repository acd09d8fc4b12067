// SPDX-License-Identifier: GPL-2.0-or-later
// The pages of a trace that are worth sending first.
#pragma once

#include "trace/trace.h"

namespace gc::trace {

/// Every touched page once, hottest first. The heat of a page is the sum of the numbers, from 1, of
/// the epochs that touched it, so both frequency and recency count. Among pages of equal heat,
/// those touched earlier in their last epoch come first.
std::vector<Place> hot_set(const Trace& trace);

}  // namespace gc::trace

// SPDX-License-Identifier: GPL-2.0-or-later
// Which pages of a trace are worth sending first.
#pragma once

#include "trace/trace.h"

namespace gc::trace {

/// Every page that was touched, once, the hottest first. A page's heat is the sum, over the epochs
/// in which it was touched, of the epoch's number from 1 on: how often counts, and what is recent
/// counts more. Of equal heat those go first that were touched earlier in the last epoch that they
/// were touched in.
std::vector<Place> hot_set(const Trace& trace);

}  // namespace gc::trace

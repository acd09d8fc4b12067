// SPDX-License-Identifier: GPL-2.0-or-later
// Which pages of a trace are worth sending first.
#pragma once

#include "trace/trace.h"

namespace gc::trace {

/// A touched page's place in a RAM block.
struct HotPage {
    std::size_t block = 0;  ///< index in the trace's header
    std::uint64_t page = 0;
    bool operator==(const HotPage&) const = default;
};

/// Every page that was touched, once, the hottest first. A page's heat is the sum, over the epochs
/// in which it was touched, of the epoch's number from 1 on: how often counts, and what is recent
/// counts more. Of equal heat those go first that were touched earlier in the last epoch that they
/// were touched in.
std::vector<HotPage> hot_set(const Trace& trace);

}  // namespace gc::trace

// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

namespace gc::ledger {

/// Consecutive pages of one RAM block.
struct PageRun {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    bool operator==(const PageRun&) const = default;
};

}  // namespace gc::ledger

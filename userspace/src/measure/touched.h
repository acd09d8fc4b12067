// SPDX-License-Identifier: GPL-2.0-or-later
// The pages that the VM touched at the destination, as `gcctl receive --measure` reports them to
// `gcctl migrate`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gc::measure {

/// Consecutive pages of 4 KiB.
struct Run {
    std::uint64_t first = 0;  ///< page of the RAM block
    std::uint64_t count = 0;
    bool operator==(const Run&) const = default;
};

/// Touched pages of one RAM block, disjoint from all others.
struct Touched {
    std::string block;
    bool asked = false;  ///< the destination requested them
    std::vector<Run> runs;
    bool operator==(const Touched&) const = default;
};

}  // namespace gc::measure

// SPDX-License-Identifier: GPL-2.0-or-later
// A set of pages that takes memory for its intervals, not for its pages.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>

namespace gc::trace {

class PageIntervals {
  public:
    /// Adds the pages from `first` up to and without `end`. Calls fresh(first, end) for each
    /// interval of them that was not in the set, in rising order.
    template <typename Fresh> void add(std::uint64_t first, std::uint64_t end, Fresh&& fresh) {
        if (first >= end)
            return;
        auto at = ends_.upper_bound(first);
        if (at != ends_.begin() && std::prev(at)->second >= first)
            --at;
        std::uint64_t begin = first;
        std::uint64_t last = end;
        std::uint64_t covered = first;
        while (at != ends_.end() && at->first <= end) {
            if (at->first > covered)
                fresh(covered, at->first);
            covered = std::max(covered, at->second);
            begin = std::min(begin, at->first);
            last = std::max(last, at->second);
            at = ends_.erase(at);
        }
        if (covered < end)
            fresh(covered, end);
        ends_.emplace_hint(at, begin, last);
    }

    /// Adds pages. @return how many of them were not in the set
    std::uint64_t add(std::uint64_t first, std::uint64_t end) {
        std::uint64_t count = 0;
        add(first, end, [&](std::uint64_t from, std::uint64_t to) { count += to - from; });
        return count;
    }

  private:
    std::map<std::uint64_t, std::uint64_t> ends_;  ///< start -> end of disjoint intervals
};

}  // namespace gc::trace

// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/next_pages.h"

#include <algorithm>

namespace gc {

void NextPages::asked_before(PageRef page, const Ledger& ledger) {
    const std::uint64_t granule = ledger.granule(page.block);
    const auto round_up = [=](std::uint64_t number) {
        return (number + granule - 1) / granule * granule;
    };
    const std::uint64_t first = round_up(page.number);
    const std::uint64_t room = ledger.blocks()[page.block].pages - first;
    const Range range{page.block, first, first + round_up(std::min(pages_, room))};
    if (range.first == range.end)
        return;
    {
        const std::lock_guard lock(mutex_);
        remove(range);
        ranges_.push_front(range);
        if (ranges_.size() > most_ranges)
            ranges_.pop_back();
    }
    wake_.signal();
}

void NextPages::remove(const Range& other) {
    for (Range& range : ranges_) {
        if (range.block != other.block || range.end <= other.first || range.first >= other.end)
            continue;
        // One piece is left at most: none was longer than the other, unless that ends with the
        // block.
        if (range.first < other.first)
            range.end = other.first;
        else
            range.first = std::min(range.end, other.end);
    }
    std::erase_if(ranges_, [](const Range& range) { return range.first == range.end; });
}

std::size_t NextPages::take(const Ledger& ledger, std::span<PageRef> into) {
    const std::lock_guard lock(mutex_);
    std::size_t count = 0;
    while (count == 0 && !ranges_.empty()) {
        Range& range = ranges_.front();
        const std::uint64_t granule = ledger.granule(range.block);
        for (; range.first < range.end && count * granule < into.size(); range.first += granule)
            if (!ledger.has(range.block, range.first))
                into[count++] = {range.block, range.first};
        if (range.first == range.end)
            ranges_.pop_front();
    }
    return count;
}

}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/next_pages.h"

#include <algorithm>

namespace gc::transfer {

void NextPages::asked_before(PageRef page, const ledger::Ledger& ledger) {
    const std::uint64_t granule = ledger.granule(page.block);
    const auto round_up = [=](std::uint64_t number) {
        return (number + granule - 1) / granule * granule;
    };
    const std::uint64_t first = round_up(page.number);
    const std::uint64_t room = ledger.blocks()[page.block].pages - first;
    if (room == 0 || pages_ == 0)
        return;
    {
        const std::lock_guard lock(mutex_);
        const std::uint64_t pages = pages_after({page.block, first - granule});
        const Range range{page.block, first, first + round_up(std::min(pages, room))};
        walks_.push_front({range, pages});
        if (walks_.size() > max_ranges)
            walks_.pop_back();
        remove(range);
        ranges_.push_front(range);
        while (ranges_.size() > max_ranges)
            ranges_.pop_back();
    }
    wake_.signal();
}

std::uint64_t NextPages::pages_after(PageRef granule) {
    const auto walk = std::ranges::find_if(walks_, [=](const Walk& one) {
        return one.ahead.block == granule.block && one.ahead.first <= granule.number &&
               granule.number <= one.ahead.end;
    });
    if (walk == walks_.end())
        return pages_;
    // A request inside the read-ahead means that the VM is faster than the link: a larger window
    // would not arrive in time.
    const bool arrived = granule.number == walk->ahead.end;
    const std::uint64_t pages =
        arrived ? std::min(2 * walk->pages, max_growth * pages_) : walk->pages;
    walks_.erase(walk);
    return pages;
}

void NextPages::remove(const Range& other) {
    std::deque<Range> left;
    for (const Range& range : ranges_) {
        const Range before{range.block, range.first, std::min(range.end, other.first)};
        const Range after{range.block, std::max(range.first, other.end), range.end};
        if (range.block != other.block) {
            left.push_back(range);
            continue;
        }
        for (const Range& piece : {before, after})
            if (piece.first < piece.end)
                left.push_back(piece);
    }
    ranges_ = std::move(left);
}

std::size_t NextPages::take(const ledger::Ledger& ledger, std::span<PageRef> into) {
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

}  // namespace gc::transfer

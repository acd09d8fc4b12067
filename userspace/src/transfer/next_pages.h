// SPDX-License-Identifier: GPL-2.0-or-later
// `--next-pages`: a VM that requests a page will often touch the pages after it next.
#pragma once

#include "ledger/ledger.h"
#include "transfer/page_ref.h"
#include "util/mailbox.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>

namespace gc::transfer {

/// Read-ahead: the pages that follow the destination's requests, newest request first. A request
/// that continues where the last read-ahead ended is sequential: it doubles the window, as file
/// readahead does, up to `max_growth` times the first. Only a hint: forgotten pages go with the
/// background. Thread-safe.
class NextPages {
  public:
    /// Requests and sequential walks that are remembered: more than most VMs have vCPUs waiting at
    /// once.
    static constexpr std::size_t max_ranges = 32;
    static constexpr std::uint64_t max_growth = 32;

    /// @param pages to send after a request, rounded up to whole granules: at least one huge page
    /// where RAM is in huge pages, because a VM that walks through it faults on each. 0 disables it
    /// @param wake signalled when there is something to take
    NextPages(std::uint64_t pages, const Waker& wake) : pages_(pages), wake_(wake) {}

    /// The VM requested the page before this one, delivered or not: that is where it is working.
    void asked_before(PageRef page, const ledger::Ledger& ledger);

    /// Takes undelivered pages in address order, one for each granule, while the granules taken
    /// have fewer pages than `into`. @return how many; 0 if there are none
    std::size_t take(const ledger::Ledger& ledger, std::span<PageRef> into);

  private:
    struct Range {
        std::size_t block;
        std::uint64_t first, end;  ///< whole granules
    };
    /// The last read-ahead of a request.
    struct Walk {
        Range ahead;
        std::uint64_t pages;
    };

    /// How many pages to send after a request for this granule. Forgets the walk that it continues.
    std::uint64_t pages_after(PageRef granule);
    /// Subtracts this range from all others.
    void remove(const Range& other);

    const std::uint64_t pages_;
    const Waker& wake_;
    std::mutex mutex_;
    std::deque<Range> ranges_;  ///< newest first, disjoint
    std::deque<Walk> walks_;    ///< newest first
};

}  // namespace gc::transfer

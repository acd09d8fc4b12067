// SPDX-License-Identifier: GPL-2.0-or-later
// `--next-pages`: the VM that asks for a page will often want those after it next.
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

/// What follows the newest requests of the destination, the newest first. Who asks just where what
/// was sent ahead ends walks on: for each such request it is twice as much as before, as with a
/// file's readahead, up to `most_growth` times. A hint: what is forgotten goes with the background.
/// Thread-safe.
class NextPages {
  public:
    /// Requests and walkers that are remembered: more than VMs mostly have vCPUs that wait at once.
    static constexpr std::size_t most_ranges = 32;
    static constexpr std::uint64_t most_growth = 32;

    /// @param pages after a request, rounded up to whole granules: RAM in huge pages has at
    /// least one, as a VM that walks through it faults on each; 0: none
    /// @param wake signalled when there is something to take
    NextPages(std::uint64_t pages, const Waker& wake) : pages_(pages), wake_(wake) {}

    /// The VM has asked for what is before this page, be it delivered or not: that is where it is.
    void asked_before(PageRef page, const ledger::Ledger& ledger);

    /// Takes pages that are not delivered, each for all of its granule, in the order of addresses:
    /// as long as their granules have fewer pages than `into`. @return how many; 0: there are none
    std::size_t take(const ledger::Ledger& ledger, std::span<PageRef> into);

  private:
    struct Range {
        std::size_t block;
        std::uint64_t first, end;  ///< whole granules
    };
    /// What was last meant to be sent ahead of a request.
    struct Walk {
        Range ahead;
        std::uint64_t pages;
    };

    /// How many pages shall follow the request for this granule. Forgets the walk that it is of.
    std::uint64_t pages_after(PageRef granule);
    /// Takes from all ranges what they have of this one.
    void remove(const Range& other);

    const std::uint64_t pages_;
    const Waker& wake_;
    std::mutex mutex_;
    std::deque<Range> ranges_;  ///< the newest first; no two have a page in common
    std::deque<Walk> walks_;    ///< the newest first
};

}  // namespace gc::transfer

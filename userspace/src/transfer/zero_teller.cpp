// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/zero_teller.h"

#include "peer/zero_runs.h"

#include <algorithm>

namespace gc::transfer {
namespace {

/// Runs told at a time: bulk's lock is held for as long as it takes to claim their pages.
constexpr std::size_t runs_at_once = 256;

}  // namespace

Result<void> ZeroTeller::run(ledger::Ledger& ledger) {
    GC_TRY(const std::vector<BlockRun> found, find(ledger));
    std::vector<ledger::PageRun> runs;
    for (std::size_t next = 0; next < found.size() && !stopping_;) {
        const std::size_t block = found[next].block;
        runs.clear();
        for (; next < found.size() && found[next].block == block && runs.size() < runs_at_once;
             ++next)
            runs.push_back(found[next].run);
        // What others have claimed meanwhile cuts runs into pieces.
        GC_TRY(const PageSender::Told told, sender_.tell_zeros(block, runs, runs_));
        runs_ += told.runs;
        pages_ += told.pages;
    }
    return {};
}

Result<std::vector<BlockRun>> ZeroTeller::find(const ledger::Ledger& ledger) const {
    std::vector<BlockRun> found;
    std::uint64_t shortest = min_run;
    for (std::size_t i = 0; i < image_.blocks().size(); ++i) {
        const std::size_t block = ledger.find(image_.blocks()[i].name);
        if (block == ledger::Ledger::no_block || ledger.granule(block) != 1)
            continue;
        const std::uint64_t pages = ledger.blocks()[block].pages;
        for (std::uint64_t page = 0; page < pages && !stopping_;) {
            GC_TRY(const std::uint64_t hole, image_.next_hole(i, page));
            if (hole >= pages)
                break;
            GC_TRY(page, image_.next_data(i, hole));
            if (page - hole >= shortest)
                found.push_back({block, {hole, page - hole}});
            while (found.size() > max_runs) {
                shortest *= 2;
                std::erase_if(found, [shortest](const BlockRun& candidate) {
                    return candidate.run.count < shortest;
                });
            }
        }
    }
    return found;
}

}  // namespace gc::transfer

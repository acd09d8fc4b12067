// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/guide_match.h"

namespace gc::transfer {

void GuideMatch::begin(const std::vector<ledger::Ledger::Block>& blocks) {
    for (const ledger::Ledger::Block& block : blocks)
        blocks_.push_back({block.granule, Bits(block.pages), Bits(block.pages)});
}

bool GuideMatch::sampled(PageRef page) {
    // Spread by a multiplication (Knuth's): a VM may use every eighth page.
    constexpr std::uint64_t spread = 0x9e3779b97f4a7c15;
    return (page.number * spread >> 32) % sample == 0;
}

void GuideMatch::touched(PageRef page) {
    Block& block = blocks_[page.block];
    const std::uint64_t number = page.number - page.number % block.granule;
    if (block.requested.has(number))
        ++behind_;
    else
        block.touched.set(number);
}

void GuideMatch::requested(PageRef page) {
    Block& block = blocks_[page.block];
    ++requests_;
    if (block.touched.has(page.number))
        ++ahead_;
    else if (sampled(page))
        block.requested.set(page.number);
}

std::optional<GuideMatch::Divergence> GuideMatch::judge(std::uint64_t pushed) {
    const Counts now{requests_, ahead_ + sample * behind_, pushed};
    const Divergence since{.requests = now.requests - judged_.requests,
                           .matched = now.matched - judged_.matched,
                           .pushed = now.pushed - judged_.pushed};
    if (pushed == 0)
        judged_ = now;
    if (since.requests < window || since.pushed < window)
        return std::nullopt;
    judged_ = now;
    if (since.pushed > max_pushes * since.requests || since.matched * min_match >= since.requests)
        return std::nullopt;
    return since;
}

}  // namespace gc::transfer

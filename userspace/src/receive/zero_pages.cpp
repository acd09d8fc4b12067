// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/zero_pages.h"

#include "peer/zero_runs.h"

#include <algorithm>
#include <iterator>

namespace gc::receive {

ZeroPages::ZeroPages(std::vector<Block> blocks)
    : blocks_(std::move(blocks)), told_(blocks_.size()), left_in_(blocks_.size()) {}

std::optional<std::size_t> ZeroPages::find(std::string_view name) const {
    const auto found = std::ranges::find(blocks_, name, &Block::name);
    if (found == blocks_.end())
        return std::nullopt;
    return static_cast<std::size_t>(found - blocks_.begin());
}

Result<void> ZeroPages::check(std::size_t block, const ledger::PageRun& run) const {
    const Block& in = blocks_[block];
    const auto bad = [&](std::string_view why) {
        return fail(ErrorKind::protocol,
                    "the source says that {} pages from page {} on of RAM block '{}' are zeros, {}",
                    run.count, run.first, in.name, why);
    };
    if (!in.small)
        return bad("whose host pages have more than 4 KiB");
    if (run.count == 0 || run.first > in.pages || run.count > in.pages - run.first)
        return bad(fmt::format("which has {} pages", in.pages));
    if (count_ == peer::max_zero_runs)
        return bad(fmt::format("after {} other runs", count_));
    const auto after = told_[block].upper_bound(run.first);
    if ((after != told_[block].end() && after->first < run.first + run.count) ||
        (after != told_[block].begin() && std::prev(after)->second > run.first))
        return bad("of which it said so before");
    return {};
}

Result<void> ZeroPages::add(std::string_view block, std::span<const ledger::PageRun> runs) {
    const auto index = find(block);
    if (!index)
        return fail(ErrorKind::protocol,
                    "the source says that pages of RAM block '{}' are zeros, which this VM does "
                    "not have",
                    block);
    for (const ledger::PageRun& run : runs) {
        GC_CHECK(check(*index, run));
        told_[*index].emplace(run.first, run.first + run.count);
        left_in_[*index].emplace(run.first, run.first + run.count);
        left_ += run.count;
        ++count_;
    }
    return {};
}

bool ZeroPages::has(const Runs& runs, std::uint64_t page) {
    const auto after = runs.upper_bound(page);
    return after != runs.begin() && std::prev(after)->second > page;
}

bool ZeroPages::told(Page page) const {
    return has(told_[page.block], page.number);
}

bool ZeroPages::take(Page page) {
    Runs& runs = left_in_[page.block];
    const auto after = runs.upper_bound(page.number);
    if (after == runs.begin() || std::prev(after)->second <= page.number)
        return false;
    const auto run = std::prev(after);
    const std::uint64_t end = run->second;
    if (run->first == page.number)
        runs.erase(run);
    else
        run->second = page.number;
    if (page.number + 1 < end)
        runs.emplace(page.number + 1, end);
    --left_;
    next_ = {page.block, page.number + 1};
    return true;
}

std::optional<ZeroPages::Run> ZeroPages::take_next(std::uint64_t max) {
    if (left_ == 0 || max == 0)
        return std::nullopt;
    auto run = left_in_[next_.block].lower_bound(next_.number);
    while (run == left_in_[next_.block].end()) {
        next_ = {(next_.block + 1) % blocks_.size(), 0};
        run = left_in_[next_.block].begin();
    }
    const auto [first, end] = *run;
    left_in_[next_.block].erase(run);
    const std::uint64_t count = std::min(max, end - first);
    if (count < end - first)
        left_in_[next_.block].emplace(first + count, end);
    left_ -= count;
    next_.number = first + count;
    return Run{next_.block, {first, count}};
}

}  // namespace gc::receive

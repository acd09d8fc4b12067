// SPDX-License-Identifier: GPL-2.0-or-later
#include "ledger/ledger.h"

#include <algorithm>
#include <bit>
#include <span>

namespace gc::ledger {
namespace {

constexpr std::uint64_t word_bits = 64;

/// Calls visit(word, mask) for each word with bits of these pages; the mask has these bits.
template <typename Visit>
void for_each_word(std::uint64_t first, std::uint64_t count, Visit visit) {
    for (std::uint64_t page = first; page < first + count;) {
        const std::uint64_t from = page % word_bits;
        const std::uint64_t here = std::min(word_bits - from, first + count - page);
        visit(page / word_bits, (~std::uint64_t{0} >> (word_bits - here)) << from);
        page += here;
    }
}

}  // namespace

Ledger::Ledger(std::vector<Block> blocks) : blocks_(std::move(blocks)), bits_(blocks_.size()) {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
        const std::uint64_t pages = blocks_[i].pages;
        bits_[i].words =
            std::make_unique<std::atomic<std::uint64_t>[]>((pages + word_bits - 1) / word_bits);
        bits_[i].missing = pages;
        total_ += pages;
    }
    missing_ = total_;
}

void Ledger::keep_deliveries() {
    for (std::size_t i = 0; i < blocks_.size(); ++i)
        bits_[i].deliveries.resize(blocks_[i].pages);
}

std::size_t Ledger::find(std::string_view name) const {
    const auto found = std::ranges::find(blocks_, name, &Block::name);
    return found == blocks_.end() ? no_block : static_cast<std::size_t>(found - blocks_.begin());
}

Result<void> Ledger::check_range(std::string_view what, std::size_t block, std::uint64_t first,
                                 std::uint64_t count) const {
    if (block >= blocks_.size())
        return fail(ErrorKind::protocol, "{} of a RAM block that the source did not announce",
                    what);
    const Block& in = blocks_[block];
    if (sealed())
        return fail(ErrorKind::protocol, "{} of page {} of '{}' after switch-over", what, first,
                    in.name);
    if (first > in.pages || count > in.pages - first)
        return fail(ErrorKind::protocol, "{} of {} pages at page {} of '{}', which has {} pages",
                    what, count, first, in.name, in.pages);
    return {};
}

bool Ledger::set(std::size_t block, std::uint64_t page, PageClass as) {
    const std::uint64_t bit = std::uint64_t{1} << (page % word_bits);
    if (bits_[block].words[page / word_bits].fetch_or(bit, std::memory_order_acq_rel) & bit)
        return false;
    if (!bits_[block].deliveries.empty())
        bits_[block].deliveries[page] = {as, false};
    // Before `missing`: a reader that sees no page missing sees all of the counts.
    delivered_[as].fetch_add(1, std::memory_order_relaxed);
    bits_[block].missing.fetch_sub(1, std::memory_order_acq_rel);
    missing_.fetch_sub(1, std::memory_order_acq_rel);
    return true;
}

Result<void> Ledger::deliver_precopy(std::size_t block, std::uint64_t first, std::uint64_t count) {
    GC_CHECK(check_range("pre-copy", block, first, count));
    std::uint64_t delivered = 0;
    for_each_word(first, count, [&](std::uint64_t word, std::uint64_t mask) {
        const std::uint64_t before =
            bits_[block].words[word].fetch_or(mask, std::memory_order_acq_rel);
        delivered += static_cast<std::uint64_t>(std::popcount(~before & mask));
    });
    if (!bits_[block].deliveries.empty())
        std::ranges::fill(std::span(bits_[block].deliveries).subspan(first, count),
                          Delivery{PageClass::precopy, false});
    delivered_[PageClass::precopy].fetch_add(delivered, std::memory_order_relaxed);
    bits_[block].missing.fetch_sub(delivered, std::memory_order_acq_rel);
    missing_.fetch_sub(delivered, std::memory_order_acq_rel);
    return {};
}

Result<void> Ledger::discard(std::size_t block, std::uint64_t first, std::uint64_t count) {
    GC_CHECK(check_range("a discard", block, first, count));
    std::uint64_t forgotten = 0;
    for_each_word(first, count, [&](std::uint64_t word, std::uint64_t mask) {
        const std::uint64_t before =
            bits_[block].words[word].fetch_and(~mask, std::memory_order_acq_rel);
        forgotten += static_cast<std::uint64_t>(std::popcount(before & mask));
    });
    // Before the seal, only pre-copy delivers.
    delivered_[PageClass::precopy].fetch_sub(forgotten, std::memory_order_relaxed);
    bits_[block].missing.fetch_add(forgotten, std::memory_order_acq_rel);
    missing_.fetch_add(forgotten, std::memory_order_acq_rel);
    return {};
}

bool Ledger::claim(std::size_t block, std::uint64_t page, PageClass as) {
    if (!sealed() || block >= blocks_.size() || page >= blocks_[block].pages)
        return false;
    const std::uint64_t granule = blocks_[block].granule;
    const std::uint64_t first = page - page % granule;
    // The caller that gets the first page gets the whole granule.
    if (!set(block, first, as))
        return false;
    for (std::uint64_t next = first + 1; next < first + granule; ++next)
        set(block, next, as);
    return true;
}

std::vector<PageRun> Ledger::claim_zeros(std::size_t block, PageRun pages, PageClass as,
                                         std::size_t max_runs) {
    std::vector<PageRun> claimed;
    if (!sealed() || block >= blocks_.size() || blocks_[block].granule != 1 ||
        pages.first >= blocks_[block].pages)
        return claimed;
    const std::uint64_t count = std::min(pages.count, blocks_[block].pages - pages.first);
    for_each_word(pages.first, count, [&](std::uint64_t word, std::uint64_t mask) {
        if (claimed.size() >= max_runs)
            return;
        std::uint64_t fresh =
            mask & ~bits_[block].words[word].fetch_or(mask, std::memory_order_acq_rel);
        const auto got = static_cast<std::uint64_t>(std::popcount(fresh));
        // As in set(): before `missing`.
        delivered_[as].fetch_add(got, std::memory_order_relaxed);
        while (fresh != 0) {
            const auto skip = static_cast<std::uint64_t>(std::countr_zero(fresh));
            const auto size = static_cast<std::uint64_t>(std::countr_one(fresh >> skip));
            const std::uint64_t first = word * word_bits + skip;
            if (!claimed.empty() && claimed.back().first + claimed.back().count == first)
                claimed.back().count += size;
            else
                claimed.push_back({first, size});
            if (!bits_[block].deliveries.empty())
                std::ranges::fill(std::span(bits_[block].deliveries).subspan(first, size),
                                  Delivery{as, true});
            fresh &= size == word_bits ? 0 : ~(((std::uint64_t{1} << size) - 1) << skip);
        }
        bits_[block].missing.fetch_sub(got, std::memory_order_acq_rel);
        missing_.fetch_sub(got, std::memory_order_acq_rel);
    });
    return claimed;
}

void Ledger::sent_as_zero(std::size_t block, std::uint64_t page) {
    if (!bits_[block].deliveries.empty())
        bits_[block].deliveries[page].zero = true;
}

std::optional<Delivery> Ledger::delivery(std::size_t block, std::uint64_t page) const {
    if (block >= blocks_.size() || bits_[block].deliveries.empty() || !has(block, page))
        return std::nullopt;
    return bits_[block].deliveries[page];
}

std::uint64_t Ledger::count(std::size_t block, std::uint64_t first, std::uint64_t end) const {
    std::uint64_t delivered = 0;
    for_each_word(first, end - first, [&](std::uint64_t word, std::uint64_t mask) {
        delivered += static_cast<std::uint64_t>(
            std::popcount(bits_[block].words[word].load(std::memory_order_acquire) & mask));
    });
    return delivered;
}

Result<void> Ledger::check_granules() const {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
        const std::uint64_t granule = blocks_[i].granule;
        for (std::uint64_t page = 0; granule > 1 && page < blocks_[i].pages; page += granule)
            if (const auto there = count(i, page, page + granule); there != 0 && there != granule)
                return fail(ErrorKind::protocol,
                            "the source QEMU has sent only {} of {} pages of the huge page at page "
                            "{} of '{}'",
                            there, granule, page, blocks_[i].name);
    }
    return {};
}

Result<void> Ledger::check_eof() const {
    if (full())
        return {};
    for (std::size_t i = 0; i < blocks_.size(); ++i)
        if (const std::uint64_t page = next_missing(i, 0); page < blocks_[i].pages)
            return fail(ErrorKind::protocol,
                        "the stream must not end: {} of {} pages are not delivered, the first is "
                        "page {} of "
                        "'{}'",
                        missing(), total_, page, blocks_[i].name);
    return fail(ErrorKind::protocol, "the stream must not end before switch-over");
}

bool Ledger::has(std::size_t block, std::uint64_t page) const {
    if (page >= blocks_[block].pages)
        return false;
    const std::uint64_t word = bits_[block].words[page / word_bits].load(std::memory_order_acquire);
    return ((word >> (page % word_bits)) & 1) != 0;
}

std::uint64_t Ledger::next_missing(std::size_t block, std::uint64_t from) const {
    const std::uint64_t pages = blocks_[block].pages;
    for (std::uint64_t page = from; page < pages; page = (page / word_bits + 1) * word_bits) {
        const std::uint64_t delivered =
            bits_[block].words[page / word_bits].load(std::memory_order_acquire);
        const std::uint64_t absent = ~delivered >> (page % word_bits);
        if (absent != 0)
            return std::min(pages, page + static_cast<std::uint64_t>(std::countr_zero(absent)));
    }
    return pages;
}

}  // namespace gc::ledger

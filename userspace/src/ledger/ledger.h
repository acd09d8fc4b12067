// SPDX-License-Identifier: GPL-2.0-or-later
// The record of which page of which RAM block was delivered, and in which class.
//
// Every page must reach the destination exactly once after its last discard, and the stream may end
// only when all have. QEMU checks neither (ram_load_postcopy in migration/ram.c,
// postcopy_ram_listen_thread in savevm.c; 7.2 to 11): a missing page reads as zeros, a second copy
// fails with EEXIST and breaks the migration.
#pragma once

#include "ledger/class_counts.h"
#include "ledger/page_run.h"
#include "util/error.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gc::ledger {

/// How a page was sent.
struct Delivery {
    PageClass as = PageClass::precopy;
    bool zero = false;  ///< as a zero marker; unknown for pre-copy
    bool operator==(const Delivery&) const = default;
};

class Ledger {
  public:
    struct Block {
        std::string name;
        std::uint64_t pages = 0;
        /// Pages in a host page of the destination, which accepts them only together, in order, on
        /// one channel (ram_load_postcopy). `pages` is a multiple of it.
        std::uint64_t granule = 1;
    };
    static constexpr std::size_t no_block = SIZE_MAX;

    /// Starts with all pages undelivered.
    explicit Ledger(std::vector<Block> blocks);

    [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }
    /// Index of a block, or no_block.
    [[nodiscard]] std::size_t find(std::string_view name) const;

    /// Remembers how each page is delivered, for delivery(), at two bytes a page. Call it before
    /// the first delivery.
    void keep_deliveries();

    // ---- pre-copy: one thread, until seal()

    /// Records pages sent before switch-over; a page may be sent again. Errors: protocol (no such
    /// pages, or sealed).
    Result<void> deliver_precopy(std::size_t block, std::uint64_t first, std::uint64_t count = 1);
    /// Records that the destination was told to forget the pages. Errors: protocol (no such pages,
    /// or sealed).
    Result<void> discard(std::size_t block, std::uint64_t first, std::uint64_t count);
    /// Switch-over: no more discards, and from now on each page is claimed once.
    void seal() { sealed_.store(true, std::memory_order_release); }
    [[nodiscard]] bool sealed() const { return sealed_.load(std::memory_order_acquire); }

    // ---- after seal(): any thread

    /// Errors: protocol, if pre-copy left a granule half delivered, which could never be completed.
    [[nodiscard]] Result<void> check_granules() const;

    /// Returns true to exactly one caller for each granule, who must then deliver all of its pages.
    /// False before seal(), and if no such page exists.
    [[nodiscard]] bool claim(std::size_t block, std::uint64_t page, PageClass as);

    /// Claims those of the pages that are missing, as zeros, for a caller that must then deliver
    /// them. The block's granule must be 1.
    /// @param max_runs stops at this many runs; the last 64 pages may have added some more
    /// @return the claimed pages
    [[nodiscard]] std::vector<PageRun> claim_zeros(std::size_t block, PageRun pages, PageClass as,
                                                   std::size_t max_runs);

    /// Called by the claimer after sending the page as a zero marker.
    void sent_as_zero(std::size_t block, std::uint64_t page);

    /// No page is missing, nor can one be again: true only after seal().
    [[nodiscard]] bool full() const { return sealed() && missing() == 0; }
    /// Errors: protocol unless full(), naming the first missing page.
    [[nodiscard]] Result<void> check_eof() const;

    // ---- any thread, any time; `block` must be one

    [[nodiscard]] std::uint64_t granule(std::size_t block) const { return blocks_[block].granule; }
    /// Also false if no such page exists.
    [[nodiscard]] bool has(std::size_t block, std::uint64_t page) const;
    /// The first undelivered page >= from of a block, or the block's number of pages.
    [[nodiscard]] std::uint64_t next_missing(std::size_t block, std::uint64_t from) const;
    [[nodiscard]] std::uint64_t missing() const { return missing_.load(std::memory_order_acquire); }
    [[nodiscard]] std::uint64_t missing(std::size_t block) const {
        return bits_[block].missing.load(std::memory_order_acquire);
    }
    [[nodiscard]] std::uint64_t total() const { return total_; }
    /// Pages whose valid delivery was in this class. The classes add up to total() - missing().
    [[nodiscard]] std::uint64_t delivered(PageClass as) const {
        return delivered_[as].load(std::memory_order_relaxed);
    }

    /// Counts by class. The total includes missing pages.
    [[nodiscard]] ClassCounts counts() const {
        ClassCounts counts;
        for (const PageClass page_class : page_classes)
            counts.in[page_class] = delivered(page_class);
        counts.total = total_;
        return counts;
    }

    // ---- when no other thread uses it any more

    /// How a page was delivered; nullopt if it was not, if no such page exists, or without
    /// keep_deliveries().
    [[nodiscard]] std::optional<Delivery> delivery(std::size_t block, std::uint64_t page) const;

  private:
    struct Bits {
        std::unique_ptr<std::atomic<std::uint64_t>[]> words;
        std::atomic<std::uint64_t> missing = 0;
        /// Empty, or an entry for each page, written only by the thread that delivers the page.
        std::vector<Delivery> deliveries;
    };

    [[nodiscard]] Result<void> check_range(std::string_view what, std::size_t block,
                                           std::uint64_t first, std::uint64_t count) const;
    bool set(std::size_t block, std::uint64_t page, PageClass as);
    /// The number of delivered pages in [first, end).
    [[nodiscard]] std::uint64_t count(std::size_t block, std::uint64_t first,
                                      std::uint64_t end) const;

    std::vector<Block> blocks_;
    std::vector<Bits> bits_;  ///< one bit a page: delivered
    PerClass<std::atomic<std::uint64_t>> delivered_;
    std::atomic<std::uint64_t> missing_ = 0;
    std::uint64_t total_ = 0;
    std::atomic<bool> sealed_ = false;
};

}  // namespace gc::ledger

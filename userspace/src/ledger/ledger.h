// SPDX-License-Identifier: GPL-2.0-or-later
// Which page of which RAM block is delivered, and as what. The only place that knows.
//
// Every page must reach the destination exactly once after its last discard, and the stream may end
// only when all have. QEMU checks neither (ram_load_postcopy in migration/ram.c,
// postcopy_ram_listen_thread in savevm.c; 7.2 to 11): a missing page reads as zeros, a second copy
// fails with EEXIST and breaks the migration.
#pragma once

#include "ledger/class_counts.h"
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
    bool zero = false;  ///< as a zero marker; of pre-copy not known
    bool operator==(const Delivery&) const = default;
};

class Ledger {
  public:
    struct Block {
        std::string name;
        std::uint64_t pages = 0;
        /// Pages of the destination's host page: it takes them only together, all in a row on one
        /// channel (ram_load_postcopy). `pages` is a multiple of it.
        std::uint64_t granule = 1;
    };
    static constexpr std::size_t no_block = SIZE_MAX;

    /// All pages undelivered.
    explicit Ledger(std::vector<Block> blocks);

    [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }
    /// Index of a block, or no_block.
    [[nodiscard]] std::size_t find(std::string_view name) const;

    /// Keeps of each page how it is delivered, for delivery(); two bytes a page. Before anything
    /// is.
    void keep_deliveries();

    // ---- pre-copy: one thread, until seal()

    /// The pages were sent before switch-over. They may be again. Errors: protocol (no such pages,
    /// or sealed).
    Result<void> deliver_precopy(std::size_t block, std::uint64_t first, std::uint64_t count = 1);
    /// The destination was told to forget the pages. Errors: protocol (no such pages, or sealed).
    Result<void> discard(std::size_t block, std::uint64_t first, std::uint64_t count);
    /// Switch-over: no more discards, and from now on each page is claimed once.
    void seal() { sealed_.store(true, std::memory_order_release); }
    [[nodiscard]] bool sealed() const { return sealed_.load(std::memory_order_acquire); }

    // ---- after seal(): any thread

    /// Errors: protocol, when pre-copy has left a granule half delivered, which could never be
    /// completed.
    [[nodiscard]] Result<void> check_granules() const;

    /// True for exactly one caller a granule: it must deliver all pages of the one that this page
    /// is in. False before seal(), and for no page.
    [[nodiscard]] bool claim(std::size_t block, std::uint64_t page, PageClass as);

    /// By whom claimed the page: its content is zeros.
    void sent_as_zero(std::size_t block, std::uint64_t page);

    /// Nothing is missing, and nothing will be (true only after seal()).
    [[nodiscard]] bool full() const { return sealed() && missing() == 0; }
    /// Errors: protocol unless full(), naming the first missing page.
    [[nodiscard]] Result<void> check_eof() const;

    // ---- any thread, any time; `block` must be one

    [[nodiscard]] std::uint64_t granule(std::size_t block) const { return blocks_[block].granule; }
    /// False also for a page that there is not.
    [[nodiscard]] bool has(std::size_t block, std::uint64_t page) const;
    /// The first page >= from of a block that is not delivered, or its number of pages.
    [[nodiscard]] std::uint64_t next_missing(std::size_t block, std::uint64_t from) const;
    [[nodiscard]] std::uint64_t missing() const { return missing_.load(std::memory_order_acquire); }
    [[nodiscard]] std::uint64_t missing(std::size_t block) const {
        return bits_[block].missing.load(std::memory_order_acquire);
    }
    [[nodiscard]] std::uint64_t total() const { return total_; }
    /// Pages whose one valid delivery was of this class. The classes add up to total() - missing().
    [[nodiscard]] std::uint64_t delivered(PageClass as) const {
        return delivered_[as].load(std::memory_order_relaxed);
    }

    /// By class; the total also counts the pages that are missing.
    [[nodiscard]] ClassCounts counts() const {
        ClassCounts counts;
        for (const PageClass page_class : page_classes)
            counts.in[page_class] = delivered(page_class);
        counts.total = total_;
        return counts;
    }

    // ---- when no other thread uses it any more

    /// How a page was delivered; nothing if it was not, or there is no such page, or that was not
    /// kept.
    [[nodiscard]] std::optional<Delivery> delivery(std::size_t block, std::uint64_t page) const;

  private:
    struct Bits {
        std::unique_ptr<std::atomic<std::uint64_t>[]> words;
        std::atomic<std::uint64_t> missing = 0;
        /// None, or of each page what only the thread that delivered it writes.
        std::vector<Delivery> deliveries;
    };

    [[nodiscard]] Result<void> check_range(std::string_view what, std::size_t block,
                                           std::uint64_t first, std::uint64_t count) const;
    bool set(std::size_t block, std::uint64_t page, PageClass as);
    /// Delivered pages of [first, end).
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

// SPDX-License-Identifier: GPL-2.0-or-later
// The pages that the source told to be zeros and QEMU was not given yet.
#pragma once

#include "ledger/page_run.h"
#include "util/error.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gc::receive {

/// Each page is taken once. Not thread-safe.
class ZeroPages {
  public:
    struct Block {
        std::string name;
        std::uint64_t pages = 0;  ///< of 4 KiB
        /// Whether its host pages have 4 KiB: QEMU places larger ones only as a whole.
        bool small = true;
    };
    struct Page {
        std::size_t block;  ///< index in blocks()
        std::uint64_t number;
        auto operator<=>(const Page&) const = default;  // NOLINT(modernize-use-nullptr)
    };
    struct Run {
        std::size_t block;
        ledger::PageRun pages;
        bool operator==(const Run&) const = default;
    };

    /// @param blocks those of the VM
    explicit ZeroPages(std::vector<Block> blocks);

    [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }
    /// The index of a block, or nullopt.
    [[nodiscard]] std::optional<std::size_t> find(std::string_view name) const;

    /// Errors: protocol (no such block or pages, a page that was told before, pages that QEMU does
    /// not take one by one, too many runs).
    Result<void> add(std::string_view block, std::span<const ledger::PageRun> runs);

    /// Whether the page was ever added.
    [[nodiscard]] bool told(Page page) const;
    /// @return false if it was not added, or taken before
    bool take(Page page);
    /// Takes up to `max` consecutive pages: those that follow the last page given to take() or
    /// taken here, then others.
    std::optional<Run> take_next(std::uint64_t max);
    /// Number of pages that were added and not taken.
    [[nodiscard]] std::uint64_t left() const { return left_; }

  private:
    using Runs = std::map<std::uint64_t, std::uint64_t>;  ///< first page -> end

    static bool has(const Runs& runs, std::uint64_t page);
    Result<void> check(std::size_t block, const ledger::PageRun& run) const;

    std::vector<Block> blocks_;
    std::vector<Runs> told_;  ///< of each block, as all others
    std::vector<Runs> left_in_;
    std::size_t count_ = 0;  ///< of runs told
    std::uint64_t left_ = 0;
    Page next_{0, 0};
};

}  // namespace gc::receive

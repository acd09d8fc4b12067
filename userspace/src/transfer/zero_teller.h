// SPDX-License-Identifier: GPL-2.0-or-later
// After switch-over: finds runs of pages that were never written and tells the destination of them.
// It places them by itself, without a byte for each and without a round trip for each fault.
#pragma once

#include "ledger/page_run.h"
#include "transfer/page_sender.h"

#include <atomic>
#include <cstdint>
#include <vector>

namespace gc::transfer {

/// A run of pages of a RAM block, which is given by its index in the ledger.
struct BlockRun {
    std::size_t block = 0;
    ledger::PageRun run;
    bool operator==(const BlockRun&) const = default;
};

class ZeroTeller {
  public:
    /// Shorter runs are not worth their 16 bytes and a node in the destination's set.
    static constexpr std::uint64_t min_run = 16;
    /// Of more runs only the longest are told.
    static constexpr std::size_t max_runs = 4096;

    ZeroTeller(PageSender& sender, const image::SourceImage& image)
        : sender_(sender), image_(image) {}

    /// The thread's body: returns when everything is told. The VM must be stopped for good, and the
    /// ledger sealed.
    Result<void> run(ledger::Ledger& ledger);
    /// From any thread.
    void stop() { stopping_ = true; }

    /// What was told. From any thread.
    [[nodiscard]] std::uint64_t runs() const { return runs_; }
    [[nodiscard]] std::uint64_t pages() const { return pages_; }

  private:
    /// Finds the longest runs of pages that need not be read, in order of their addresses. Leaves
    /// out blocks whose host pages have more than 4 KiB, as QEMU places only whole ones.
    Result<std::vector<BlockRun>> find(const ledger::Ledger& ledger) const;

    PageSender& sender_;
    const image::SourceImage& image_;
    std::atomic<bool> stopping_ = false;
    std::atomic<std::uint64_t> runs_ = 0;
    std::atomic<std::uint64_t> pages_ = 0;
};

}  // namespace gc::transfer

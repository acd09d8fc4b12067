// SPDX-License-Identifier: GPL-2.0-or-later
// Whether the guide still touches the pages that its VM touches, as far as the source can tell.
#pragma once

#include "ledger/ledger.h"
#include "transfer/page_ref.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace gc::transfer {

/// A page that arrives ahead of demand is never requested, so only the pages that come too late
/// tell. The guide matches its VM in those that it touched before the VM requested them, and in
/// those that it touches afterwards: it is on the VM's way, if behind. A guide that pushes pages
/// while the VM requests others is on a way of its own. Thread-safe.
class GuideMatch {
  public:
    /// One of this many pages that come too late is not given to a guide that requests its pages,
    /// to see whether the guide comes to need it.
    static constexpr std::uint64_t sample = 8;
    /// Requests and pushes that are judged together.
    static constexpr std::uint64_t window = 512;
    /// A guide that matches fewer than one of this many requests has diverged.
    static constexpr std::uint64_t min_match = 20;
    /// A guide that pushes more pages than this for each request of its VM is left alone: it may
    /// serve one activity of the VM, while another one makes the requests.
    static constexpr std::uint64_t max_pushes = 2;

    /// Before the other functions.
    void begin(const std::vector<ledger::Ledger::Block>& blocks);

    /// Whether the page is in the sample.
    [[nodiscard]] static bool sampled(PageRef page);

    /// The guide touched the page, for the first time.
    void touched(PageRef page);
    /// The VM requested the page, or the host page that begins with it.
    void requested(PageRef page);

    struct Divergence {
        std::uint64_t requests;  ///< by the VM, of the time that is judged
        std::uint64_t matched;   ///< of these, as far as known
        std::uint64_t pushed;    ///< by the guide meanwhile
    };
    /// Judges the requests since the last judgement, if they are enough. From one thread. Requests
    /// before a call with `pushed` 0 are never judged: the guide did not run yet.
    /// @param pushed pages sent because of the guide until now
    [[nodiscard]] std::optional<Divergence> judge(std::uint64_t pushed);

  private:
    /// One bit for each page.
    class Bits {
      public:
        explicit Bits(std::uint64_t pages)
            : words_(std::make_unique<std::atomic<std::uint64_t>[]>((pages + 63) / 64)) {}
        void set(std::uint64_t page) {
            words_[page / 64].fetch_or(std::uint64_t{1} << page % 64, std::memory_order_relaxed);
        }
        [[nodiscard]] bool has(std::uint64_t page) const {
            return (words_[page / 64].load(std::memory_order_relaxed) >> page % 64 & 1) != 0;
        }

      private:
        std::unique_ptr<std::atomic<std::uint64_t>[]> words_;
    };
    struct Block {
        std::uint64_t granule;  ///< see Ledger::Block; known by its first page
        Bits touched;
        Bits requested;  ///< those of the sample
    };

    struct Counts {
        std::uint64_t requests = 0;
        std::uint64_t matched = 0;
        std::uint64_t pushed = 0;
    };

    std::vector<Block> blocks_;
    std::atomic<std::uint64_t> requests_ = 0;
    std::atomic<std::uint64_t> ahead_ = 0;   ///< requested after the guide had touched them
    std::atomic<std::uint64_t> behind_ = 0;  ///< of the sample, touched after they were requested
    Counts judged_;
};

}  // namespace gc::transfer

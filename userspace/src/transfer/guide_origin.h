// SPDX-License-Identifier: GPL-2.0-or-later
// What a guide that requests its pages needs of the data plane.
#pragma once

#include "capture/fault_server.h"
#include "ledger/ledger.h"
#include "transfer/guide_match.h"
#include "transfer/kept_pages.h"
#include "transfer/source_socket.h"

#include <mutex>
#include <set>
#include <utility>

namespace gc::transfer {

/// Knows what the destination has, and finds the pages of ROMs and video memory, which the image
/// does not have. Thread-safe.
class GuideOrigin final : public capture::PageOrigin {
  public:
    /// @param wake_relay wakes the thread that reads the source's stream
    GuideOrigin(const KeptPages& kept, SourceSocket& source, GuideMatch& match,
                const Waker& wake_relay)
        : kept_(kept), source_(source), match_(match), wake_relay_(wake_relay) {}

    /// Call it before the relay runs, if the guide requests its pages.
    void expect_requests() { expected_ = true; }
    /// Whether the guide may request what the destination already has.
    [[nodiscard]] bool expects_requests() const { return expected_; }
    /// @param server woken when a page arrives that it looked for; null from the guide's end on
    void serve(capture::FaultServer* server);

    // For the thread that answers the destination.
    /// The destination requested the page, and was sent it.
    void requested(PageRef page);

    // For the relay's thread.
    /// Before the first page.
    void begin(const ledger::Ledger& ledger) { ledger_ = &ledger; }
    /// A page was kept.
    void arrived(PageRef page);
    /// Whether the guide waits for a page of the source's stream.
    [[nodiscard]] bool wants() const;

    // For the guide's server.
    [[nodiscard]] bool delivered(std::size_t block, std::uint64_t page) const override {
        return ledger_->has(block, page);
    }
    void touched(std::size_t block, std::uint64_t page) override { match_.touched({block, page}); }
    Result<Found> find(std::size_t block, std::uint64_t page, std::span<std::byte> into) override;

  private:
    using Key = std::pair<std::size_t, std::uint64_t>;

    const KeptPages& kept_;
    SourceSocket& source_;
    GuideMatch& match_;
    const Waker& wake_relay_;
    const ledger::Ledger* ledger_ = nullptr;
    bool expected_ = false;
    mutable std::mutex mutex_;
    std::set<Key> wanted_;
    capture::FaultServer* server_ = nullptr;
};

}  // namespace gc::transfer

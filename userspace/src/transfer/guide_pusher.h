// SPDX-License-Identifier: GPL-2.0-or-later
// After switch-over: sends the pages that the guide touches, in the order in which it touches them.
#pragma once

#include "capture/record_source.h"
#include "transfer/guide_match.h"
#include "transfer/page_sender.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <vector>

namespace gc::transfer {

class GuidePusher {
  public:
    /// @param wake wakes the thread
    /// @param idle signalled when no guide page is waiting any more
    GuidePusher(PageSender& sender, std::vector<capture::BlockRecords> feeds, GuideMatch& match,
                const Waker& wake, const Waker& idle)
        : sender_(sender), feeds_(std::move(feeds)), match_(match), wake_(wake), idle_(idle) {}

    /// The thread's body: runs until every page is sent or the guide is gone.
    Result<void> run(ledger::Ledger& ledger);

    /// Whether a guide page is waiting to be sent. From any thread.
    [[nodiscard]] bool busy() const { return busy_; }
    /// Blocks until the thread no longer uses the feeds. From any thread.
    void drop_guide();
    /// From any thread.
    void stop();

  private:
    static constexpr std::chrono::milliseconds max_poll{100};

    /// Sends up to a section of touched pages or, if there are none, reads the feeds. @return
    /// whether there may be more
    Result<bool> push();
    /// Looks up the feeds' RAM blocks, once.
    Result<void> resolve_feeds(const ledger::Ledger& ledger);
    /// Adds to touched_. @return whether there was a record
    Result<bool> read_feeds();
    [[nodiscard]] bool has_guide();
    void set_idle();
    enum class Until { rested, touched, writable };
    /// Waits for at most `max_wait`: with `touched`, until the guide touches a page; with
    /// `writable`, until can_send_guide_page().
    void wait(std::chrono::steady_clock::duration max_wait, Until until);

    PageSender& sender_;
    std::mutex feeds_mutex_;
    std::vector<capture::BlockRecords> feeds_;
    /// Of each feed, once the source has announced its RAM blocks.
    struct FeedBlock {
        std::size_t block;  ///< index in the ledger
        std::uint64_t pages;
    };
    std::vector<FeedBlock> feed_blocks_;
    GuideMatch& match_;
    std::vector<PageRef> touched_;  ///< read from the feeds and not yet sent
    const Waker& wake_;
    const Waker& idle_;
    std::atomic<bool> busy_ = false;
    std::atomic<bool> stopping_ = false;
};

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
// After switch-over: sends the pages that the guide touches, in the order of its touches.
#pragma once

#include "capture/record_source.h"
#include "transfer/page_sender.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <vector>

namespace gc::transfer {

class GuidePusher {
  public:
    /// @param wake readable when the thread should look again
    /// @param idle signalled when no page of the guide waits any more
    GuidePusher(PageSender& sender, std::vector<capture::BlockRecords> feeds, const Waker& wake,
                const Waker& idle)
        : sender_(sender), feeds_(std::move(feeds)), wake_(wake), idle_(idle) {}

    /// The thread's body: until all has been sent, or there is no guide (any more).
    Result<void> run(ledger::Ledger& ledger);

    /// Whether a page of the guide waits to be sent. From any thread.
    [[nodiscard]] bool busy() const { return busy_; }
    /// Blocks until the thread is no longer looking at the feeds. From any thread.
    void drop_guide();
    /// From any thread.
    void stop();

  private:
    /// Sends up to a section of pages that the guide touched, or, if there are none, reads which
    /// it did. @return whether there may be more
    Result<bool> push();
    /// Looks up the feeds' RAM blocks, once.
    Result<void> resolve_feeds(const ledger::Ledger& ledger);
    /// Adds to touched_. @return whether there was a record
    Result<bool> read_feeds();
    [[nodiscard]] bool has_guide();
    void set_idle();
    enum class Until { rested, touched, writable };
    /// At most so long; with `touched`, only until the guide has touched a page, and with
    /// `writable`, until that can be sent without a long wait in the socket.
    void wait(std::chrono::steady_clock::duration longest, Until until);

    PageSender& sender_;
    std::mutex feeds_mutex_;
    std::vector<capture::BlockRecords> feeds_;
    /// Of each feed, once the source has announced its RAM blocks.
    struct FeedBlock {
        std::size_t block;  ///< index in the ledger
        std::uint64_t pages;
    };
    std::vector<FeedBlock> feed_blocks_;
    std::vector<PageRef> touched_;  ///< by the guide, read from its feeds, and not yet looked after
    const Waker& wake_;
    const Waker& idle_;
    std::atomic<bool> busy_ = false;
    std::atomic<bool> stopping_ = false;
};

}  // namespace gc::transfer

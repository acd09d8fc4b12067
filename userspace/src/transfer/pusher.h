// SPDX-License-Identifier: GPL-2.0-or-later
// After switch-over: decides which page goes next on the main channel. Guide pages first, in the
// order of the guide's touches; then the hot set that was recorded before, the hottest first; then
// the background, all that is left: data, then zeros, each in the order of addresses.
#pragma once

#include "transfer/guide_feed.h"
#include "transfer/notice.h"
#include "transfer/page_sender.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <vector>

namespace gc {

/// The hot set that was recorded before the migration.
struct WarmPages {
    std::vector<std::string> blocks;  ///< RAM blocks, all with memory that can be read here
    std::vector<PageRef> pages;       ///< the hottest first; `block` is an index of `blocks`
};

class Pusher {
  public:
    /// @param hold_background how long, once the VM runs, no background is sent
    /// @param wake readable when the thread should look again: PageSender signals it, and this
    /// object
    Pusher(PageSender& sender, const SourceImage& image, std::vector<GuideFeed> feeds,
           std::chrono::milliseconds hold_background, const Waker& wake);

    /// Sent once the VM runs, whether the background is held or not. Before run().
    void set_warm(WarmPages warm) { warm_ = std::move(warm); }

    /// The thread's body: from switch-over until all has been sent and the stream was ended.
    Result<void> run(Ledger& ledger);

    /// Blocks until the thread is no longer looking at the feeds. From any thread.
    void drop_guide();
    /// The VM runs at the destination. The background waits for that: until then it would only be
    /// in the way of the device state, and of the guide's loading it.
    void on_resumed();
    /// Ends the hold.
    void release_background();
    void stop();

    using Clock = std::chrono::steady_clock;
    /// Until there may be something to do, at most so long. For the thread that runs run().
    void wait(Clock::duration longest);

  private:
    /// Sends up to a batch of pages that the guide touched. @return whether there were any
    Result<bool> push_guide(Ledger& ledger);
    /// Adds to touched_. @return whether there was a record
    Result<bool> read_feeds(const Ledger& ledger);
    /// Makes the blocks of the hot set those of the ledger.
    void resolve_warm(const Ledger& ledger);
    /// Sends up to a batch of the hot set. @return whether there may be more
    Result<bool> push_warm();
    /// Sends up to a batch of what is left. @return whether there may be more
    Result<bool> push_background(Ledger& ledger);
    Result<void> push_background_of(Ledger& ledger, std::size_t block);
    [[nodiscard]] bool resumed() const { return running_.load() != Clock::time_point{}; }
    [[nodiscard]] bool background_held() const;

    PageSender& sender_;
    const SourceImage& image_;
    std::mutex feeds_mutex_;
    std::vector<GuideFeed> feeds_;
    std::vector<PageRef> touched_;  ///< by the guide, read from its feeds, and not yet looked after
    WarmPages warm_;
    std::size_t warm_next_ = 0;  ///< of warm_.pages
    std::chrono::milliseconds hold_;
    std::atomic<Clock::time_point> running_{};  ///< when the VM resumed at the destination
    const Waker& wake_;
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> released_ = false;
    /// Where the background is. Pages of zeros go last: in a few bytes they are so much work for
    /// the destination that any other page on the channel would wait long behind them.
    enum class Sweep { data, zeros, done } sweep_ = Sweep::data;
    std::size_t block_ = 0;  ///< of the image
    std::uint64_t page_ = 0;
};

}  // namespace gc

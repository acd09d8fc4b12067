// SPDX-License-Identifier: GPL-2.0-or-later
// After switch-over: decides which page goes next on the main channel. Guide pages first, in the order of the
// guide's touches; then the background, all that is left, in the order of addresses.
#pragma once

#include "transfer/guide_feed.h"
#include "transfer/notice.h"
#include "transfer/page_sender.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <vector>

namespace gc {

class Pusher {
  public:
    /// @param wake readable when the thread should look again: PageSender signals it, and this object
    Pusher(PageSender& sender, const SourceImage& image, std::vector<GuideFeed> feeds,
           std::chrono::milliseconds hold_background, const Waker& wake);

    /// The thread's body: from switch-over until all has been sent and the stream was ended.
    Result<void> run(Ledger& ledger);

    /// Blocks until the thread is no longer looking at the feeds. From any thread.
    void drop_guide();
    void release_background();
    void stop();

    using Clock = std::chrono::steady_clock;
    /// Until there may be something to do, at most so long. For the thread that runs run().
    void wait(Clock::duration longest);

  private:

    /// Sends up to a batch of pages that the guide touched. @return whether there were any
    Result<bool> push_guide(Ledger& ledger);
    /// Sends up to a batch of what is left. @return whether there was any
    Result<bool> push_background(Ledger& ledger);
    [[nodiscard]] bool background_held() const;

    PageSender& sender_;
    const SourceImage& image_;
    std::mutex feeds_mutex_;
    std::vector<GuideFeed> feeds_;
    std::chrono::milliseconds hold_;
    Clock::time_point started_{};
    const Waker& wake_;
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> released_ = false;
    std::size_t block_ = 0;  ///< of the image: where the background is
    std::uint64_t page_ = 0;
};

}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
// After switch-over: sends what may wait, on a channel of its own, whenever no page of the guide
// waits: what follows the pages that the VM asked for; then the hot set that was recorded before,
// the hottest first; then the background, all that is left: data, then zeros, each in the order of
// addresses. It does not go on where the VM asked last: with several vCPUs that is now here, now
// there, and what is missing behind its place must be zeros.
#pragma once

#include "transfer/bulk_window.h"
#include "transfer/guide_pusher.h"
#include "transfer/next_pages.h"
#include "transfer/page_sender.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace gc::transfer {

/// The hot set that was recorded before the migration.
struct WarmPages {
    std::vector<std::string> blocks;  ///< RAM blocks, all with memory that can be read here
    std::vector<PageRef> pages;       ///< the hottest first; `block` is an index of `blocks`
};

class BulkPusher {
  public:
    /// Told once, when the image has nothing more to send.
    using OnImageSent = std::function<void()>;

    /// @param hold_background how long, once the VM runs, no background is sent
    /// @param wake readable when the thread should look again: PageSender, GuidePusher and
    /// NextPages signal it, and this object
    BulkPusher(PageSender& sender, const image::SourceImage& image, const GuidePusher& guide,
               NextPages& next, std::chrono::milliseconds hold_background,
               OnImageSent on_image_sent, const Waker& wake)
        : sender_(sender), image_(image), guide_(guide), next_(next), hold_(hold_background),
          on_image_sent_(std::move(on_image_sent)), wake_(wake) {}

    /// Sent once the VM runs, whether the background is held or not. Before run().
    void set_warm(WarmPages warm) { warm_ = std::move(warm); }

    /// The thread's body: from switch-over until all has been sent and the stream was ended.
    Result<void> run(ledger::Ledger& ledger);

    /// The VM runs at the destination. The background waits for that: until then it would only be
    /// in the way of the device state, and of the guide's loading it.
    void on_resumed();
    /// Ends the hold.
    void release_background();
    void stop();

    /// Pages that were sent because they follow one that was asked for. From any thread.
    [[nodiscard]] std::uint64_t next_sent() const { return next_sent_; }

  private:
    using Clock = std::chrono::steady_clock;

    /// Looks up the RAM blocks of the hot set and of the image in the ledger, once.
    void resolve_blocks(const ledger::Ledger& ledger);
    /// Sends up to a section of what follows a page that the VM asked for. @return whether there
    /// may be more
    Result<bool> push_next(const ledger::Ledger& ledger);
    /// Sends up to a batch of the hot set. @return whether there may be more
    Result<bool> push_warm();
    /// Sends up to a batch of what is left. @return whether there may be more
    Result<bool> push_background(ledger::Ledger& ledger);
    Result<void> push_background_of(ledger::Ledger& ledger, std::size_t block);
    /// Whether one of these pages of block_ is other than zero.
    Result<bool> has_data(std::uint64_t first, std::uint64_t count);
    [[nodiscard]] bool resumed() const { return running_.load() != Clock::time_point{}; }
    [[nodiscard]] bool background_held() const;
    /// The pages as they were copied when they were looked at; nothing if not all were.
    [[nodiscard]] std::span<const image::PageContent>
    looked_at(std::span<const PageRef> pages, std::span<image::PageContent> into) const;
    /// Sends some of the pages, from the first on.
    Result<PageSender::Sent> send(std::span<const PageRef> pages, ledger::PageClass as,
                                  image::SourceImage::Known known,
                                  std::span<const image::PageContent> contents = {});
    /// Pages of data that go at once.
    [[nodiscard]] std::size_t piece() const;
    /// Whether as much is on its way as may be.
    Result<bool> window_full();
    /// Until there may be something to do, at most so long.
    void wait(Clock::duration longest);

    PageSender& sender_;
    const image::SourceImage& image_;
    const GuidePusher& guide_;
    NextPages& next_;
    std::atomic<std::uint64_t> next_sent_ = 0;
    BulkWindow window_;
    std::vector<std::size_t> ledger_index_;  ///< of each block of the image
    WarmPages warm_;
    std::size_t warm_next_ = 0;  ///< of warm_.pages
    std::chrono::milliseconds hold_;
    OnImageSent on_image_sent_;
    std::atomic<Clock::time_point> running_{};  ///< when the VM resumed at the destination
    const Waker& wake_;
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> released_ = false;
    /// Where the background is. Pages of zeros go last: in a few bytes they are so much work for
    /// the destination that any other page on the channel would wait long behind them.
    enum class Sweep { data, zeros, done } sweep_ = Sweep::data;
    std::size_t block_ = 0;  ///< of the image
    std::uint64_t page_ = 0;
    /// The pages of the image that were looked at last.
    struct Looked {
        std::size_t block = image::SourceImage::none;
        std::uint64_t first = 0;
        image::SourceImage::Found found;
        std::vector<std::byte> room;  ///< that has them, if they had to be copied
        image::SourceImage::View view;
    } looked_;
};

}  // namespace gc::transfer

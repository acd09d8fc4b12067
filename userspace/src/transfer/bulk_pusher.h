// SPDX-License-Identifier: GPL-2.0-or-later
// After switch-over: sends the pages that may wait, on the bulk channel, whenever no guide page is
// waiting: first the pages that follow the VM's requests; then the hot set recorded before the
// migration, hottest page first; then the background, which is everything else: data, then zeros,
// each in address order.
//
// Rejected: continuing the background at the VM's last request. With several vCPUs that position
// jumps about, and the pages missing behind it would have to be zeros.
#pragma once

#include "transfer/bulk_window.h"
#include "transfer/guide_pusher.h"
#include "transfer/next_pages.h"
#include "transfer/page_sender.h"

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace gc::transfer {

/// The hot set that was recorded before the migration.
struct WarmPages {
    std::vector<std::string> blocks;  ///< RAM blocks of the image
    std::vector<PageRef> pages;       ///< hottest first; `block` is an index into `blocks`
};

class BulkPusher {
  public:
    /// Called once, when every page of the image has been sent.
    using OnImageSent = std::function<void()>;

    /// @param hold_background how long to send no background once the VM runs
    /// @param wake wakes the thread; signalled by PageSender, GuidePusher, NextPages and this
    /// object
    BulkPusher(PageSender& sender, const image::SourceImage& image, const GuidePusher& guide,
               NextPages& next, std::chrono::milliseconds hold_background,
               OnImageSent on_image_sent, const Waker& wake)
        : sender_(sender), image_(image), guide_(guide), next_(next), hold_(hold_background),
          on_image_sent_(std::move(on_image_sent)), wake_(wake) {}

    /// The hot set is sent once the VM runs, even while the background is held. Call it before
    /// run().
    void set_warm(WarmPages warm) { warm_ = std::move(warm); }

    /// The thread's body: from switch-over until every page is sent and the stream has ended.
    Result<void> run(ledger::Ledger& ledger);

    /// The VM runs at the destination. No background is sent before: it would delay the device
    /// state and the guide that is loading it.
    void on_resumed();
    /// Ends the hold.
    void release_background();
    void stop();

    /// Pages sent because they follow a requested page. From any thread.
    [[nodiscard]] std::uint64_t next_sent() const { return next_sent_; }

  private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::milliseconds max_poll{100};

    /// Looks up the RAM blocks of the hot set and of the image in the ledger, once.
    void resolve_blocks(const ledger::Ledger& ledger);
    /// Sends up to a section of pages that follow a request. @return whether there may be more
    Result<bool> push_next(const ledger::Ledger& ledger);
    /// Sends up to a batch of the hot set. @return whether there may be more
    Result<bool> push_warm();
    /// Sends up to a batch of the background. @return whether there may be more
    Result<bool> push_background(ledger::Ledger& ledger);
    Result<void> push_background_of(ledger::Ledger& ledger, std::size_t block);
    /// Whether any of these pages of block_ is not zero.
    Result<bool> has_data(std::uint64_t first, std::uint64_t count);
    [[nodiscard]] bool resumed() const { return running_.load() != Clock::time_point{}; }
    /// Once resumed().
    [[nodiscard]] bool background_held() const;
    /// The copies that find_data() made of these pages; empty unless it copied all of them.
    [[nodiscard]] std::span<const image::PageContent>
    looked_at(std::span<const PageRef> pages, std::span<image::PageContent> into) const;
    /// Sends a prefix of the pages.
    Result<PageSender::Sent> send(std::span<const PageRef> pages, ledger::PageClass as,
                                  image::SourceImage::Known known,
                                  std::span<const image::PageContent> contents = {});
    /// How many data pages to send at once.
    [[nodiscard]] std::size_t piece() const;
    /// Takes acknowledgements. @return whether the window is full
    Result<bool> window_full();
    /// Waits until there may be something to do. @return for how long it did
    Clock::duration wait(Clock::duration max_wait);

    PageSender& sender_;
    const image::SourceImage& image_;
    const GuidePusher& guide_;
    NextPages& next_;
    std::atomic<std::uint64_t> next_sent_ = 0;
    BulkWindow window_;
    std::deque<std::uint64_t> frames_;       ///< sizes of those that the destination has not taken
    std::uint64_t not_taken_ = 0;            ///< their sum, in bytes
    std::vector<std::size_t> ledger_index_;  ///< of each block of the image
    WarmPages warm_;
    std::size_t warm_next_ = 0;  ///< index into warm_.pages
    std::chrono::milliseconds hold_;
    OnImageSent on_image_sent_;
    std::atomic<Clock::time_point> running_{};  ///< when the VM resumed at the destination
    const Waker& wake_;
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> released_ = false;
    /// The background's progress. Zero pages go last: they take few bytes but much work at the
    /// destination, so any other page on the channel would wait long behind them.
    enum class Sweep { data, zeros, done } sweep_ = Sweep::data;
    std::size_t block_ = 0;  ///< index in the image
    std::uint64_t page_ = 0;
    /// The pages of the image that find_data() examined last.
    struct Looked {
        std::size_t block = image::SourceImage::none;
        std::uint64_t first = 0;
        image::SourceImage::Found found;
        std::vector<std::byte> room;  ///< the pages, if they had to be copied
        image::SourceImage::View view;
    } looked_;
};

}  // namespace gc::transfer

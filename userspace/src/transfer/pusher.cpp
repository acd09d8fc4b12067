// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/pusher.h"

#include <array>
#include <poll.h>

namespace gc {
namespace {

using namespace std::chrono_literals;

/// Pages written at a time: what a guide page waits for behind the background, and an urgent page where there
/// is no channel of its own for it.
constexpr std::size_t batch = 16;
constexpr auto longest_wait = 100ms;

}  // namespace

Pusher::Pusher(PageSender& sender, const SourceImage& image, std::vector<GuideFeed> feeds,
               std::chrono::milliseconds hold_background, const Waker& wake)
    : sender_(sender), image_(image), feeds_(std::move(feeds)), hold_(hold_background), wake_(wake) {}

Result<void> Pusher::run(Ledger& ledger) {
    started_ = Clock::now();
    while (!stopping_ && !ledger.full()) {
        if (const auto rest = sender_.rest(); rest > Clock::duration::zero()) {
            wait(rest);
            continue;
        }
        GC_TRY(const bool guided, push_guide(ledger));
        if (guided)
            continue;
        if (!background_held()) {
            GC_TRY(const bool pushed, push_background(ledger));
            if (pushed)
                continue;
        }
        wait(longest_wait);
    }
    return stopping_ ? Result<void>{} : sender_.finish();
}

Result<bool> Pusher::push_guide(Ledger& ledger) {
    const std::lock_guard lock(feeds_mutex_);
    std::array<capture::Record, batch> records;
    std::array<PageRef, batch> pages;
    bool any = false;
    for (const GuideFeed& feed : feeds_) {
        GC_TRY(const std::size_t count, feed.source->read(records));
        const std::size_t block = ledger.find(feed.block);
        std::size_t wanted = 0;
        for (std::size_t i = 0; i < count; ++i)
            if (records[i].page < ledger.blocks()[block].pages)
                pages[wanted++] = {block, records[i].page};
        GC_CHECK(sender_.send(std::span(pages).first(wanted), Class::guide));
        any = any || count > 0;
    }
    return any;
}

Result<bool> Pusher::push_background(Ledger& ledger) {
    std::array<PageRef, batch> pages;
    std::size_t count = 0;
    while (count < batch && block_ < image_.blocks().size()) {
        const std::size_t block = ledger.find(image_.blocks()[block_].name);
        page_ = ledger.next_missing(block, page_);
        if (page_ >= ledger.blocks()[block].pages) {
            ++block_;
            page_ = 0;
            continue;
        }
        pages[count++] = {block, page_++};
    }
    GC_CHECK(sender_.send(std::span(pages).first(count), Class::background));
    return count > 0;
}

bool Pusher::background_held() const {
    return !released_ && Clock::now() - started_ < hold_;
}

void Pusher::wait(Clock::duration longest) {
    std::vector<pollfd> waits{{wake_.fd(), POLLIN, 0}};
    {
        const std::lock_guard lock(feeds_mutex_);
        for (const GuideFeed& feed : feeds_)
            waits.push_back({feed.source->fd(), POLLIN, 0});
    }
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(
        std::min<Clock::duration>(longest, longest_wait));
    ::poll(waits.data(), waits.size(), static_cast<int>(ms.count()));
    wake_.clear();
}

void Pusher::drop_guide() {
    const std::lock_guard lock(feeds_mutex_);
    feeds_.clear();
}

void Pusher::release_background() {
    released_ = true;
    wake_.signal();
}

void Pusher::stop() {
    stopping_ = true;
    wake_.signal();
}

}  // namespace gc

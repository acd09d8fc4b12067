// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/pusher.h"

#include <array>
#include <poll.h>

namespace gc {
namespace {

using namespace std::chrono_literals;

/// Pages looked at before the guide is asked again. All of them can be zero, and take next to no
/// room.
constexpr std::size_t background_batch = 256;
/// Records taken from a ring at a time: as many pages as a section holds.
constexpr std::size_t guide_batch = PageSender::section_data / page_size;
/// A section full of data; what the guide touches next goes before the next of these.
constexpr std::size_t warm_batch = guide_batch;
constexpr auto longest_wait = 100ms;

}  // namespace

Pusher::Pusher(PageSender& sender, const SourceImage& image, std::vector<GuideFeed> feeds,
               std::chrono::milliseconds hold_background, const Waker& wake)
    : sender_(sender), image_(image), feeds_(std::move(feeds)), hold_(hold_background),
      wake_(wake) {}

Result<void> Pusher::run(Ledger& ledger) {
    resolve_warm(ledger);
    while (!stopping_ && !ledger.full()) {
        if (const auto rest = sender_.rest(); rest > Clock::duration::zero()) {
            wait(rest);
            continue;
        }
        GC_TRY(const bool guided, push_guide(ledger));
        if (guided)
            continue;
        if (resumed()) {
            GC_TRY(const bool warmed, push_warm());
            if (warmed)
                continue;
        }
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
    bool any = !touched_.empty();
    if (!any) {
        GC_TRY(any, read_feeds(ledger));
    }
    if (touched_.empty())
        return any;
    // Not all of them, where pages are huge: the bandwidth is looked at between sections.
    GC_TRY(const std::size_t done, sender_.send(touched_, Class::guide));
    touched_.erase(touched_.begin(), touched_.begin() + static_cast<std::ptrdiff_t>(done));
    return true;
}

Result<bool> Pusher::read_feeds(const Ledger& ledger) {
    const std::lock_guard lock(feeds_mutex_);
    std::array<capture::Record, guide_batch> records;
    bool any = false;
    for (const GuideFeed& feed : feeds_) {
        GC_TRY(const std::size_t count, feed.source->read(records));
        const std::size_t block = ledger.find(feed.block);
        for (std::size_t i = 0; i < count; ++i)
            if (records[i].page < ledger.blocks()[block].pages)
                touched_.push_back({block, records[i].page});
        any = any || count > 0;
    }
    return any;
}

void Pusher::resolve_warm(const Ledger& ledger) {
    for (PageRef& page : warm_.pages)
        page.block = ledger.find(warm_.blocks[page.block]);
    std::erase_if(warm_.pages, [](const PageRef& page) { return page.block == Ledger::no_block; });
}

Result<bool> Pusher::push_warm() {
    const auto rest = std::span(warm_.pages).subspan(warm_next_);
    if (rest.empty())
        return false;
    GC_TRY(const std::size_t done,
           sender_.send(rest.first(std::min(rest.size(), warm_batch)), Class::warm));
    warm_next_ += done;
    return true;
}

Result<bool> Pusher::push_background(Ledger& ledger) {
    for (; sweep_ != Sweep::done;
         sweep_ = sweep_ == Sweep::data ? Sweep::zeros : Sweep::done, block_ = 0) {
        for (; block_ < image_.blocks().size(); ++block_, page_ = 0) {
            const std::size_t block = ledger.find(image_.blocks()[block_].name);
            if (page_ >= ledger.blocks()[block].pages)
                continue;
            GC_CHECK(push_background_of(ledger, block));
            return true;
        }
    }
    return false;
}

Result<void> Pusher::push_background_of(Ledger& ledger, std::size_t block) {
    const std::uint64_t end = ledger.blocks()[block].pages;
    const std::uint64_t granule = ledger.granule(block);
    std::array<PageRef, background_batch> pages;
    std::size_t count = 0;
    std::uint64_t page = page_;
    for (std::size_t looked_at = 0; looked_at < pages.size(); looked_at += granule) {
        page = ledger.next_missing(block, page);
        if (page >= end)
            break;
        bool wanted = sweep_ == Sweep::zeros;
        if (!wanted) {
            GC_TRY(wanted, image_.has_data(block_, page, granule));
        }
        if (wanted)
            pages[count++] = {block, page};
        page += granule;
        if (!wanted) {
            GC_TRY(page, image_.next_data(block_, page));
            page -= page % granule;
        }
    }
    page_ = page;
    if (count == 0)
        return {};
    GC_TRY(const std::size_t done, sender_.send(std::span(pages).first(count), Class::background));
    if (done < count)
        page_ = pages[done].number;
    return {};
}

bool Pusher::background_held() const {
    const Clock::time_point running = running_;
    return running == Clock::time_point{} || (!released_ && Clock::now() - running < hold_);
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

void Pusher::on_resumed() {
    running_ = Clock::now();
    wake_.signal();
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

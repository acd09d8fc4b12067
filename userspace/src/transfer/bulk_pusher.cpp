// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/bulk_pusher.h"
#include "util/poll.h"

#include <array>
#include <utility>

namespace gc::transfer {
namespace {

using namespace std::chrono_literals;
using Known = image::SourceImage::Known;

/// Pages examined between two checks for guide pages. They may all be zero and take almost no
/// room.
constexpr std::size_t background_batch = 256;
/// A section full of data. Guide pages go before the next one.
constexpr std::size_t section_pages = PageSender::bulk_section_data / page_size;

}  // namespace

Result<void> BulkPusher::run(ledger::Ledger& ledger) {
    resolve_blocks(ledger);
    while (!stopping_ && !ledger.full()) {
        // Check first: unread acknowledgements would end every wait at once.
        GC_TRY(const bool full, window_full());
        if (guide_.busy()) {
            wait(max_poll);
            continue;
        }
        if (full) {
            const auto waited = wait(max_poll);
            sender_.waited_for_bulk(waited, not_taken_);
            continue;
        }
        if (const auto rest = sender_.rest(); rest > 0s) {
            sender_.rested(wait(rest));
            continue;
        }
        const bool running = resumed();  // asked once: it may begin at any moment
        if (running) {
            GC_TRY(const bool followed, push_next(ledger));
            if (followed)
                continue;
            GC_TRY(const bool warmed, push_warm());
            if (warmed)
                continue;
        }
        if (running && !background_held()) {
            GC_TRY(const bool pushed, push_background(ledger));
            if (pushed)
                continue;
            if (on_image_sent_)
                std::exchange(on_image_sent_, nullptr)();
        }
        wait(max_poll);
    }
    return stopping_ ? Result<void>{} : sender_.finish();
}

void BulkPusher::resolve_blocks(const ledger::Ledger& ledger) {
    for (const image::ImageBlock& block : image_.blocks())
        ledger_index_.push_back(ledger.find(block.name));
    std::vector<std::size_t> warm_index;
    for (const std::string& name : warm_.blocks)
        warm_index.push_back(ledger.find(name));
    for (PageRef& page : warm_.pages)
        page.block = warm_index[page.block];
    std::erase_if(warm_.pages,
                  [](const PageRef& page) { return page.block == ledger::Ledger::no_block; });
}

Result<bool> BulkPusher::push_next(const ledger::Ledger& ledger) {
    std::array<PageRef, section_pages> pages;
    const std::size_t count = next_.take(ledger, std::span(pages).first(piece()));
    if (count == 0)
        return false;
    // They fit into one section. If they did not, the background would send the rest.
    GC_TRY(const PageSender::Sent sent,
           send(std::span(pages).first(count), ledger::PageClass::warm, Known::nothing));
    next_sent_ += sent.delivered;
    return true;
}

Result<bool> BulkPusher::push_warm() {
    const auto rest = std::span(warm_.pages).subspan(warm_next_);
    if (rest.empty())
        return false;
    GC_TRY(const PageSender::Sent sent, send(rest.first(std::min(rest.size(), piece())),
                                             ledger::PageClass::warm, Known::nothing));
    warm_next_ += sent.done;
    return true;
}

Result<bool> BulkPusher::push_background(ledger::Ledger& ledger) {
    for (; sweep_ != Sweep::done;
         sweep_ = sweep_ == Sweep::data ? Sweep::zeros : Sweep::done, block_ = 0) {
        for (; block_ < image_.blocks().size(); ++block_, page_ = 0) {
            const std::size_t block = ledger_index_[block_];
            if (page_ >= ledger.blocks()[block].pages)
                continue;
            GC_CHECK(push_background_of(ledger, block));
            return true;
        }
    }
    return false;
}

Result<void> BulkPusher::push_background_of(ledger::Ledger& ledger, std::size_t block) {
    const std::uint64_t end = ledger.blocks()[block].pages;
    const std::uint64_t granule = ledger.granule(block);
    std::array<PageRef, background_batch> pages;
    std::size_t count = 0;
    std::uint64_t page = page_;
    const std::size_t max_pages = sweep_ == Sweep::data ? piece() : pages.size();
    for (std::size_t looked_at = 0; looked_at < pages.size() && count * granule < max_pages;
         looked_at += granule) {
        page = ledger.next_missing(block, page);
        if (page >= end)
            break;
        bool wanted = sweep_ == Sweep::zeros;
        if (!wanted) {
            GC_TRY(wanted, has_data(page, granule));
        }
        if (wanted)
            pages[count++] = {block, page};
        page += granule;
        if (!wanted && page % image::SourceImage::window == 0) {
            GC_TRY(page, image_.next_data(block_, page));
            page -= page % granule;
        }
    }
    page_ = page;
    if (count == 0)
        return {};
    // Nobody writes to the image any more: data stays data, and whatever the data sweep left is
    // zeros.
    const Known known = granule > 1             ? Known::nothing
                        : sweep_ == Sweep::data ? Known::data
                                                : Known::zeros;
    std::array<image::PageContent, section_pages> room;
    const auto wanted = std::span(pages).first(count);
    GC_TRY(const PageSender::Sent sent,
           send(wanted, ledger::PageClass::background, known,
                known == Known::data ? looked_at(wanted, room)
                                     : std::span<const image::PageContent>{}));
    if (sent.done < count)
        page_ = pages[sent.done].number;
    return {};
}

Result<bool> BulkPusher::has_data(std::uint64_t first, std::uint64_t count) {
    constexpr std::uint64_t window = image::SourceImage::window;
    const std::uint64_t end = image_.blocks()[block_].length / page_size;
    for (std::uint64_t page = first; page < first + count;) {
        const std::uint64_t begin = page - page % window;
        if (looked_.block != block_ || looked_.first != begin) {
            if (image_.is_copied(block_) && !image_.is_in_file(block_))
                looked_.room.resize(window * page_size);
            looked_.block = image::SourceImage::none;
            GC_TRY(looked_.found, image_.find_data(block_, begin, std::min(window, end - begin),
                                                   looked_.room, looked_.view));
            looked_.block = block_;
            looked_.first = begin;
        }
        const std::uint64_t next = std::min(begin + window, first + count);
        for (; page < next; ++page)
            if ((looked_.found.data >> (page - begin) & 1U) != 0)
                return true;
    }
    return false;
}

std::span<const image::PageContent>
BulkPusher::looked_at(std::span<const PageRef> pages, std::span<image::PageContent> into) const {
    // Only the last window is still in memory.
    if (!looked_.found.copied || pages.front().number < looked_.first)
        return {};
    for (std::size_t i = 0; i < pages.size(); ++i)
        into[i] = std::span(looked_.room)
                      .subspan((pages[i].number - looked_.first) * page_size, page_size);
    return into.first(pages.size());
}

Result<PageSender::Sent> BulkPusher::send(std::span<const PageRef> pages, ledger::PageClass as,
                                          Known known,
                                          std::span<const image::PageContent> contents) {
    GC_TRY(const PageSender::Sent sent, sender_.send(pages, as, known, contents, &looked_.view));
    // From before it was written: the acknowledgement may have arrived before send() returned.
    if (sent.delivered > 0) {
        window_.sent(sent.delivered, sent.at);
        frames_.push_back(sent.bytes);
        not_taken_ += sent.bytes;
    }
    return sent;
}

std::size_t BulkPusher::piece() const {
    return std::min<std::size_t>(section_pages, window_.piece());
}

Result<bool> BulkPusher::window_full() {
    GC_TRY(const std::size_t taken, sender_.take_acknowledged());
    const auto now = Clock::now();
    for (std::size_t frame = 0; frame < taken && !frames_.empty(); ++frame) {
        window_.acknowledged(now);
        not_taken_ -= frames_.front();
        frames_.pop_front();
    }
    return !window_.open();
}

BulkPusher::Clock::duration BulkPusher::wait(Clock::duration max_wait) {
    const auto begin = Clock::now();
    std::array<pollfd, 2> waits{{{wake_.fd(), POLLIN, 0}, {sender_.bulk_fd(), POLLIN, 0}}};
    (void)poll_until(waits, std::min<Clock::duration>(max_wait, max_poll));
    wake_.clear();
    return Clock::now() - begin;
}

bool BulkPusher::background_held() const {
    return !released_ && Clock::now() - running_.load() < hold_;
}

void BulkPusher::on_resumed() {
    running_ = Clock::now();
    wake_.signal();
}

void BulkPusher::release_background() {
    released_ = true;
    wake_.signal();
}

void BulkPusher::stop() {
    stopping_ = true;
    wake_.signal();
}

}  // namespace gc::transfer

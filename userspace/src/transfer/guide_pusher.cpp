// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/guide_pusher.h"
#include "util/poll.h"

#include <array>

namespace gc::transfer {
namespace {

using namespace std::chrono_literals;

/// Records read from a ring at a time: as many as a section holds pages.
constexpr std::size_t batch = PageSender::section_data / page_size;

}  // namespace

Result<void> GuidePusher::run(ledger::Ledger& ledger) {
    GC_CHECK(resolve_feeds(ledger));
    while (!stopping_ && !ledger.full()) {
        if (const auto rest = sender_.rest(); rest > 0s) {
            wait(rest, Until::rested);
            continue;
        }
        if (!touched_.empty() && !sender_.can_send_guide_page()) {
            wait(max_poll, Until::writable);
            continue;
        }
        GC_TRY(const bool pushed, push());
        if (pushed)
            continue;
        set_idle();
        if (!has_guide())
            break;
        wait(max_poll, Until::touched);
    }
    set_idle();
    return {};
}

Result<bool> GuidePusher::push() {
    if (touched_.empty()) {
        GC_TRY(const bool any, read_feeds());
        busy_ = busy_ || !touched_.empty();
        return any;
    }
    // May send only some of them where pages are huge: the bandwidth is checked between sections.
    GC_TRY(const PageSender::Sent sent, sender_.send(touched_, ledger::PageClass::guide));
    touched_.erase(touched_.begin(), touched_.begin() + static_cast<std::ptrdiff_t>(sent.done));
    return true;
}

Result<void> GuidePusher::resolve_feeds(const ledger::Ledger& ledger) {
    const std::lock_guard lock(feeds_mutex_);
    for (const capture::BlockRecords& feed : feeds_) {
        const std::size_t block = ledger.find(feed.block);
        if (block == ledger::Ledger::no_block)
            return fail(ErrorKind::protocol,
                        "the guide's RAM block '{}' is not in the source QEMU's stream",
                        feed.block);
        feed_blocks_.push_back({block, ledger.blocks()[block].pages});
    }
    return {};
}

Result<bool> GuidePusher::read_feeds() {
    const std::lock_guard lock(feeds_mutex_);
    std::array<capture::Record, batch> records;
    bool any = false;
    for (std::size_t feed = 0; feed < feeds_.size(); ++feed) {
        GC_TRY(const std::size_t count, feeds_[feed].source->read(records));
        const auto [block, pages] = feed_blocks_[feed];
        for (const capture::Record& record : std::span(records).first(count))
            if (record.page < pages) {
                match_.touched({block, record.page});
                touched_.push_back({block, record.page});
            }
        any = any || count > 0;
    }
    return any;
}

bool GuidePusher::has_guide() {
    const std::lock_guard lock(feeds_mutex_);
    return !feeds_.empty();
}

void GuidePusher::set_idle() {
    if (busy_.exchange(false))
        idle_.signal();
}

void GuidePusher::wait(std::chrono::steady_clock::duration max_wait, Until until) {
    const auto begin = std::chrono::steady_clock::now();
    std::vector<pollfd> waits{{wake_.fd(), POLLIN, 0}};
    if (until == Until::writable)
        waits.push_back({sender_.main_socket(), POLLOUT, 0});
    if (until == Until::touched) {
        const std::lock_guard lock(feeds_mutex_);
        for (const capture::BlockRecords& feed : feeds_)
            waits.push_back({feed.source->fd(), POLLIN, 0});
    }
    (void)poll_until(waits, std::min<std::chrono::steady_clock::duration>(max_wait, max_poll));
    wake_.clear();
    const auto waited = std::chrono::steady_clock::now() - begin;
    if (until == Until::rested)
        sender_.rested(waited);
    else if (until == Until::writable)
        sender_.waited_for_main(waited);
}

void GuidePusher::drop_guide() {
    {
        const std::lock_guard lock(feeds_mutex_);
        feeds_.clear();
    }
    wake_.signal();
}

void GuidePusher::stop() {
    stopping_ = true;
    wake_.signal();
}

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/guide_pusher.h"

#include <array>
#include <poll.h>

namespace gc::transfer {
namespace {

using namespace std::chrono_literals;

/// Records taken from a ring at a time: as many pages as a section holds.
constexpr std::size_t batch = PageSender::section_data / page_size;
constexpr auto longest_wait = 100ms;

}  // namespace

Result<void> GuidePusher::run(ledger::Ledger& ledger) {
    while (!stopping_ && !ledger.full()) {
        if (const auto rest = sender_.rest(); rest > 0s) {
            wait(rest, Until::rested);
            continue;
        }
        if (!touched_.empty() && !sender_.takes_guide_pages()) {
            wait(longest_wait, Until::writable);
            continue;
        }
        GC_TRY(const bool pushed, push(ledger));
        if (pushed)
            continue;
        set_idle();
        if (!has_guide())
            break;
        wait(longest_wait, Until::touched);
    }
    set_idle();
    return {};
}

Result<bool> GuidePusher::push(ledger::Ledger& ledger) {
    if (touched_.empty()) {
        GC_TRY(const bool any, read_feeds(ledger));
        busy_ = busy_ || !touched_.empty();
        return any;
    }
    // Not all of them, where pages are huge: the bandwidth is looked at between sections.
    GC_TRY(const PageSender::Sent sent, sender_.send(touched_, ledger::PageClass::guide));
    touched_.erase(touched_.begin(), touched_.begin() + static_cast<std::ptrdiff_t>(sent.done));
    return true;
}

Result<bool> GuidePusher::read_feeds(const ledger::Ledger& ledger) {
    const std::lock_guard lock(feeds_mutex_);
    std::array<capture::Record, batch> records;
    bool any = false;
    for (const capture::BlockRecords& feed : feeds_) {
        GC_TRY(const std::size_t count, feed.source->read(records));
        const std::size_t block = ledger.find(feed.block);
        for (std::size_t i = 0; i < count; ++i)
            if (records[i].page < ledger.blocks()[block].pages)
                touched_.push_back({block, records[i].page});
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

void GuidePusher::wait(std::chrono::steady_clock::duration longest, Until until) {
    std::vector<pollfd> waits{{wake_.fd(), POLLIN, 0}};
    if (until == Until::writable)
        waits.push_back({sender_.main_fd(), POLLOUT, 0});
    if (until == Until::touched) {
        const std::lock_guard lock(feeds_mutex_);
        for (const capture::BlockRecords& feed : feeds_)
            waits.push_back({feed.source->fd(), POLLIN, 0});
    }
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(
        std::min<std::chrono::steady_clock::duration>(longest, longest_wait));
    ::poll(waits.data(), waits.size(), static_cast<int>(ms.count()));
    wake_.clear();
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

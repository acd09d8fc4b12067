// SPDX-License-Identifier: GPL-2.0-or-later
// Which pages are queued unsent in a socket. A queued page cannot be sent again when the VM comes
// to wait for it. Instead, everything queued before it is marked urgent; a page that has been
// claimed but not written yet is marked when it is written.
#pragma once

#include "transfer/page_ref.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace gc::transfer {

/// Positions are bytes since the start of the connection. Thread-safe.
class Backlog {
  public:
    /// Queues a section with these pages that ends at `end`. @return whether one of them is wanted
    [[nodiscard]] bool add(std::span<const PageRef> pages, std::uint64_t end) {
        const std::lock_guard lock(mutex_);
        sections_.push_back({end, {pages.begin(), pages.end()}});
        return std::erase_if(wanted_, [&](const PageRef& page) {
                   return std::ranges::find(pages, page) != pages.end();
               }) > 0;
    }

    /// Everything before this position has been sent.
    void sent(std::uint64_t position) {
        const std::lock_guard lock(mutex_);
        while (!sections_.empty() && sections_.front().end <= position)
            sections_.pop_front();
    }

    /// If the page is still queued, returns the position where its section ends; otherwise
    /// remembers that it is wanted.
    [[nodiscard]] std::optional<std::uint64_t> want(PageRef page) {
        const std::lock_guard lock(mutex_);
        for (const Section& section : sections_)
            if (std::ranges::find(section.pages, page) != section.pages.end())
                return section.end;
        wanted_.push_back(page);
        if (wanted_.size() > max_wanted)
            wanted_.pop_front();
        return std::nullopt;
    }

  private:
    struct Section {
        std::uint64_t end;
        std::vector<PageRef> pages;
    };
    /// Most wanted pages were sent long ago and will never be queued again, so only the newest
    /// are kept.
    static constexpr std::size_t max_wanted = 64;

    std::mutex mutex_;
    std::deque<Section> sections_;
    std::deque<PageRef> wanted_;
};

}  // namespace gc::transfer

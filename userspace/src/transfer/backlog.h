// SPDX-License-Identifier: GPL-2.0-or-later
// Which pages wait unsent in a socket. Such a page cannot be sent once more when the VM comes to
// wait for it: what can be done is to hurry all that is before it, or, if it is still being read,
// that it hurries when it comes.
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

/// Positions are bytes since the connection's begin. Thread-safe.
class Backlog {
  public:
    /// These pages end at that position. @return whether one of them is wanted
    [[nodiscard]] bool add(std::span<const PageRef> pages, std::uint64_t end) {
        const std::lock_guard lock(mutex_);
        sections_.push_back({end, {pages.begin(), pages.end()}});
        return std::erase_if(wanted_, [&](const PageRef& page) {
                   return std::ranges::find(pages, page) != pages.end();
               }) > 0;
    }

    /// All before this position has been sent.
    void sent(std::uint64_t position) {
        const std::lock_guard lock(mutex_);
        while (!sections_.empty() && sections_.front().end <= position)
            sections_.pop_front();
    }

    /// Where the section ends that has this page, if that waits; else the page is wanted from now
    /// on.
    [[nodiscard]] std::optional<std::uint64_t> want(PageRef page) {
        const std::lock_guard lock(mutex_);
        for (const Section& section : sections_)
            if (std::ranges::find(section.pages, page) != section.pages.end())
                return section.end;
        wanted_.push_back(page);
        if (wanted_.size() > most_wanted)
            wanted_.pop_front();
        return std::nullopt;
    }

  private:
    struct Section {
        std::uint64_t end;
        std::vector<PageRef> pages;
    };
    /// Of those that are wanted, most have been sent long ago, and will not come.
    static constexpr std::size_t most_wanted = 64;

    std::mutex mutex_;
    std::deque<Section> sections_;
    std::deque<PageRef> wanted_;
};

}  // namespace gc::transfer

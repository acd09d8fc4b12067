// SPDX-License-Identifier: GPL-2.0-or-later
// Which pages wait unsent in a socket. Such a page cannot be sent once more when the VM comes to
// wait for it: what can be done is to hurry all that is before it.
#pragma once

#include "transfer/page_ref.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace gc {

/// Positions are bytes since the connection's begin. Thread-safe.
class Backlog {
  public:
    /// These pages end at that position.
    void add(std::span<const PageRef> pages, std::uint64_t end) {
        const std::lock_guard lock(mutex_);
        sections_.push_back({end, {pages.begin(), pages.end()}});
    }

    /// All before this position has been sent.
    void sent(std::uint64_t position) {
        const std::lock_guard lock(mutex_);
        while (!sections_.empty() && sections_.front().end <= position)
            sections_.pop_front();
    }

    /// Where the section ends that has this page, if that waits.
    [[nodiscard]] std::optional<std::uint64_t> end_of(PageRef page) const {
        const std::lock_guard lock(mutex_);
        for (const Section& section : sections_)
            if (std::ranges::find(section.pages, page) != section.pages.end())
                return section.end;
        return std::nullopt;
    }

  private:
    struct Section {
        std::uint64_t end;
        std::vector<PageRef> pages;
    };
    mutable std::mutex mutex_;
    std::deque<Section> sections_;
};

}  // namespace gc

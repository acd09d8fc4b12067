// SPDX-License-Identifier: GPL-2.0-or-later
// Pages that came in the source's stream and may be needed again.
#pragma once

#include "image/source_image.h"
#include "transfer/page_ref.h"

#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace gc::transfer {

/// Those of RAM blocks that the image does not cover: ROMs and video memory. Thread-safe.
class KeptPages {
  public:
    /// Keeps the newest content of a page. @return whether the page is new here
    bool keep(PageRef page, const image::PageContent& content) {
        const std::lock_guard lock(mutex_);
        const auto [kept, added] = pages_.try_emplace({page.block, page.number});
        kept->second.clear();
        if (content)
            kept->second.assign(content->begin(), content->end());
        return added;
    }
    void forget(std::size_t block, std::uint64_t first, std::uint64_t count) {
        const std::lock_guard lock(mutex_);
        pages_.erase(pages_.lower_bound({block, first}),
                     pages_.lower_bound({block, first + count}));
    }
    [[nodiscard]] bool has(PageRef page) const {
        const std::lock_guard lock(mutex_);
        return pages_.contains({page.block, page.number});
    }
    /// @param into room for a page
    /// @return nullopt if the page is not kept; else its content, which is `into` unless it is
    /// zeros
    std::optional<image::PageContent> find(PageRef page, std::span<std::byte> into) const {
        const std::lock_guard lock(mutex_);
        const auto kept = pages_.find({page.block, page.number});
        if (kept == pages_.end())
            return std::nullopt;
        if (kept->second.empty())
            return image::PageContent();
        std::ranges::copy(kept->second, into.begin());
        return image::PageContent(into);
    }

  private:
    mutable std::mutex mutex_;
    /// By block and number. Empty: zeros.
    std::map<std::pair<std::size_t, std::uint64_t>, std::vector<std::byte>> pages_;
};

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/guide_origin.h"

#include "stream/return_path.h"

#include <algorithm>

namespace gc::transfer {

void GuideOrigin::serve(capture::FaultServer* server) {
    const std::lock_guard lock(mutex_);
    server_ = server;
    if (server != nullptr)
        return;
    wanted_.clear();
    pages_.clear();
}

void GuideOrigin::requested(PageRef page) {
    const std::lock_guard lock(mutex_);
    if (server_ != nullptr)
        server_->offer(page.block, page.number);
}

void GuideOrigin::keep(PageRef page, const image::PageContent& content) {
    const std::lock_guard lock(mutex_);
    std::vector<std::byte>& kept = pages_[{page.block, page.number}];
    kept.clear();
    if (content)
        kept.assign(content->begin(), content->end());
    if (wanted_.erase({page.block, page.number}) > 0 && server_ != nullptr)
        server_->wake();
}

void GuideOrigin::forget(std::size_t block, std::uint64_t first, std::uint64_t count) {
    const std::lock_guard lock(mutex_);
    pages_.erase(pages_.lower_bound({block, first}), pages_.lower_bound({block, first + count}));
}

bool GuideOrigin::wants() const {
    const std::lock_guard lock(mutex_);
    return !wanted_.empty();
}

Result<GuideOrigin::Found> GuideOrigin::find(std::size_t block, std::uint64_t page,
                                             std::span<std::byte> into) {
    {
        const std::lock_guard lock(mutex_);
        if (const auto kept = pages_.find({block, page}); kept != pages_.end()) {
            std::ranges::copy(kept->second, into.begin());
            return kept->second.empty() ? Found::zero : Found::data;
        }
        if (!wanted_.emplace(block, page).second)
            return Found::later;
    }
    stream::Buffer request;
    stream::append_page_request(request, ledger_->blocks()[block].name, page * page_size,
                                page_size);
    GC_CHECK(source_.write(request));
    wake_relay_.signal();
    return Found::later;
}

}  // namespace gc::transfer

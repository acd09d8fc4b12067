// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/guide_origin.h"

#include "stream/return_path.h"

namespace gc::transfer {

void GuideOrigin::serve(capture::FaultServer* server) {
    const std::lock_guard lock(mutex_);
    server_ = server;
    if (server == nullptr)
        wanted_.clear();
}

void GuideOrigin::requested(PageRef page) {
    match_.requested(page);
    if (GuideMatch::sampled(page))
        return;
    const std::lock_guard lock(mutex_);
    if (server_ != nullptr)
        server_->offer(page.block, page.number);
}

void GuideOrigin::arrived(PageRef page) {
    const std::lock_guard lock(mutex_);
    if (wanted_.erase({page.block, page.number}) > 0 && server_ != nullptr)
        server_->wake();
}

bool GuideOrigin::wants() const {
    const std::lock_guard lock(mutex_);
    return !wanted_.empty();
}

Result<GuideOrigin::Found> GuideOrigin::find(std::size_t block, std::uint64_t page,
                                             std::span<std::byte> into) {
    {
        // Held over both, so that a page that arrives in between is not missed.
        const std::lock_guard lock(mutex_);
        if (const auto kept = kept_.find({block, page}, into))
            return *kept ? Found::data : Found::zero;
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

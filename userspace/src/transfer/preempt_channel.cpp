// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/preempt_channel.h"

namespace gc::transfer {

Result<void> PreemptChannel::read(const OnPage& on_page) {
    if (!connection_) {
        // Somebody else may have tried to be QEMU.
        if (auto accepted = socket_.accept())
            connection_ = std::move(*accepted);
        return {};
    }
    GC_TRY(const std::size_t got, buffer_.fill(connection_.get()));
    bool ended = got == 0;
    std::span<const std::byte> input = buffer_.bytes();
    while (!ended) {
        GC_TRY(const auto item, reader_.next(input));
        if (!item)
            break;
        if (const auto* page = std::get_if<stream::RamPage>(&*item))
            on_page(page->block, page->offset, image::PageContent(page->data));
        else if (const auto* zero = std::get_if<stream::RamZero>(&*item))
            on_page(zero->block, zero->offset, image::PageContent());
        else
            ended = true;
    }
    buffer_.keep(input.size());
    if (ended) {
        connection_.reset();
        socket_.listener = -1;
    }
    return {};
}

}  // namespace gc::transfer

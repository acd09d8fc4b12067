// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/page_server.h"

#include "stream/return_path.h"
#include "util/read_buffer.h"

namespace gc::transfer {
namespace {

constexpr std::size_t max_read = 4096;  ///< bytes: some hundred requests

}  // namespace

Result<void> PageServer::run(const std::atomic<ledger::Ledger*>& ledger) {
    stream::ReturnPathReader reader;
    ReadBuffer buffer;
    for (;;) {
        GC_TRY(const std::size_t got,
               buffer.fill_with([this](auto room) { return sender_.main().read_some(room); },
                                max_read));
        if (got == 0)
            return fail(ErrorKind::io, "the destination closed the main channel");
        std::span<const std::byte> input = buffer.bytes();
        for (;;) {
            GC_TRY(const auto message, reader.next(input));
            if (!message)
                break;
            GC_TRY(const bool done, handle(*message, ledger.load(std::memory_order_acquire)));
            if (done)
                return {};
        }
        buffer.keep(input.size());
    }
}

Result<bool> PageServer::handle(const stream::ReturnMessage& message, ledger::Ledger* ledger) {
    stream::Buffer onward;
    if (const auto* request = std::get_if<stream::PageRequest>(&message)) {
        if (ledger == nullptr || !ledger->sealed())
            return fail(ErrorKind::protocol, "the destination requested a page before switch-over");
        GC_CHECK(serve(*request, *ledger));
    } else if (const auto* pong = std::get_if<stream::PongMessage>(&message)) {
        notices_.post(Pong{pong->value});
        stream::append_pong(onward, pong->value);
    } else if (std::holds_alternative<stream::SwitchoverAck>(message)) {
        // A QEMU with switchover-ack, which libvirt asks for, neither completes nor switches over
        // before (migration_can_switchover() in migration/migration.c).
        stream::append_switchover_ack(onward);
    } else if (const auto* shut = std::get_if<stream::ShutMessage>(&message)) {
        // In post-copy the source QEMU is told by StreamRelay::drain() or migrate/release.h.
        if (ledger == nullptr || !ledger->sealed())
            stream::append_shut(onward, shut->status);
        (void)source_.write(onward);
        notices_.post(Shut{shut->status});
        // Nothing follows; from here on the channel itself reads what comes for its writer.
        sender_.main().end_reading();
        return true;
    }
    // Best effort: the source may have ended its side, and needs only what it waits for.
    if (!onward.empty())
        (void)source_.write(onward);
    return false;
}

std::size_t PageServer::block_of(const stream::PageRequest& request, const ledger::Ledger& ledger) {
    if (last_block_ == ledger::Ledger::no_block ||
        ledger.blocks()[last_block_].name != request.block)
        last_block_ = ledger.find(request.block);
    return last_block_;
}

Result<void> PageServer::serve(const stream::PageRequest& request, ledger::Ledger& ledger) {
    const std::size_t block = block_of(request, ledger);
    const std::uint64_t first = request.start / page_size;
    const std::uint64_t count = request.length / page_size;
    if (block == ledger::Ledger::no_block || first + count > ledger.blocks()[block].pages)
        return fail(
            ErrorKind::protocol,
            "the destination requested 0x{:x} bytes at 0x{:x} of RAM block '{}', which the source "
            "does not have",
            request.length, request.start, request.block);
    const bool image = sender_.has_image(block);
    bool all_kept = true;
    for (std::uint64_t page = first; page < first + count; page += ledger.granule(block)) {
        if (image) {
            GC_CHECK(sender_.send_urgent({block, page}));
            origin_.requested({block, page});
            continue;
        }
        all_kept = all_kept && kept_.has({block, page});
        if (!ledger.has(block, page))
            asked_.add({block, page});
        sender_.hurry({block, page});
    }
    if (image) {
        // The destination has caught up with the guide: send what the guide has touched since at
        // once, without waiting for the ring's wake-up.
        guide_.signal();
        next_.asked_before({block, first + count}, ledger);
        return {};
    }
    if (all_kept)
        return {};
    stream::Buffer onward;
    stream::append_page_request(onward, request.block, request.start, request.length);
    return source_.write(onward);
}

}  // namespace gc::transfer

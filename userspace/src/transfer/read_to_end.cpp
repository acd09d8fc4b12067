// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/read_to_end.h"

#include "util/poll.h"

namespace gc::transfer {
namespace {

/// @return whether the buffer held the end of the stream
Result<bool> take_items(stream::Reader& reader, BlockBuffer& buffer,
                        const std::function<Result<void>(const stream::Item&)>& on_item) {
    std::span<const std::byte> input = buffer.bytes();
    for (;;) {
        while (reader.next_run(input)) {
        }
        GC_TRY(const auto item, reader.next(input));
        if (!item)
            break;
        if (std::holds_alternative<stream::EndOfFile>(*item))
            return true;
        GC_CHECK(on_item(*item));
    }
    buffer.keep(input.size());
    return false;
}

}  // namespace

Result<void> read_to_end(int fd, stream::Reader& reader, BlockBuffer& buffer, Deadline deadline,
                         const std::function<Result<void>(const stream::Item&)>& on_item) {
    for (;;) {
        GC_TRY(const bool ended, take_items(reader, buffer, on_item));
        if (ended)
            return {};
        GC_TRY(const bool ready, wait_readable(fd, deadline));
        if (!ready)
            return fail(ErrorKind::io, "the source QEMU did not end its migration stream in time");
        GC_TRY(const std::size_t got, buffer.fill(fd));
        if (got == 0)
            return fail(ErrorKind::io,
                        "the source QEMU closed its migration stream before its end");
    }
}

}  // namespace gc::transfer

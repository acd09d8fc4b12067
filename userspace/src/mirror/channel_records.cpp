// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/channel_records.h"

namespace gc::mirror {
namespace {

/// In a row.
constexpr unsigned max_channel_reads = 16;

Result<void> take_whole(RecordReader& reader,
                        const std::function<Result<void>(const Record&)>& take) {
    for (;;) {
        GC_TRY(const auto record, reader.next());
        if (!record)
            return {};
        GC_CHECK(take(*record));
    }
}

}  // namespace

Result<bool> take_records(peer::Channel& from, RecordReader& reader,
                          const std::function<Result<void>(const Record&)>& take) {
    for (unsigned reads = 0; reads < max_channel_reads; ++reads) {
        GC_TRY(const auto got, from.read_available(reader.room()));
        if (!got)
            return true;
        if (*got == 0)
            return false;
        reader.received(*got);
        GC_CHECK(take_whole(reader, take));
    }
    return true;
}

}  // namespace gc::mirror

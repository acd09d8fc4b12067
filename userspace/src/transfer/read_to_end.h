// SPDX-License-Identifier: GPL-2.0-or-later
// The last part of a source QEMU's stream, which is nobody's any more.
#pragma once

#include "stream/reader.h"
#include "transfer/read_buffer.h"
#include "util/error.h"

#include <chrono>
#include <functional>

namespace gc::transfer {

/// Reads the stream until its end of file and shows every item before that to `on_item`, but not
/// every page; views in it are good for that call.
/// @param buffer what was read from fd and not yet taken by the reader
/// Errors: io (no end by the deadline, or the connection broke), the reader's, on_item's.
Result<void> read_to_end(int fd, stream::Reader& reader, ReadBuffer& buffer,
                         std::chrono::steady_clock::time_point deadline,
                         const std::function<Result<void>(const stream::Item&)>& on_item);

}  // namespace gc::transfer

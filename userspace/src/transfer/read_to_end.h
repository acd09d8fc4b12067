// SPDX-License-Identifier: GPL-2.0-or-later
// Reads the rest of a source QEMU's stream, which nobody needs any more.
#pragma once

#include "stream/reader.h"
#include "util/block_buffer.h"
#include "util/deadline.h"
#include "util/error.h"

#include <functional>

namespace gc::transfer {

/// Reads the stream until its end of file and passes every item to `on_item`, except runs of pages.
/// Views in an item are valid during that call.
/// @param buffer bytes read from fd and not yet consumed by the reader
/// Errors: io (no end by the deadline, or the connection broke), and those of the reader and
/// on_item.
Result<void> read_to_end(int fd, stream::Reader& reader, BlockBuffer& buffer, Deadline deadline,
                         const std::function<Result<void>(const stream::Item&)>& on_item);

}  // namespace gc::transfer

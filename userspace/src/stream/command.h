// SPDX-License-Identifier: GPL-2.0-or-later
// The payloads of commands in the stream.
#pragma once

#include "stream/reader.h"
#include "stream/writer.h"

namespace gc::stream {

/// The value that PONG must return. Errors: protocol.
Result<std::uint32_t> parse_ping(std::span<const std::byte> payload);

/// POSTCOPY_RAM_DISCARD: the destination discards these pages.
struct Discard {
    std::string_view block;  ///< a view into the payload
    std::vector<PageRange> ranges;
};
/// Errors: protocol.
Result<Discard> parse_discard(std::span<const std::byte> payload);

}  // namespace gc::stream

// SPDX-License-Identifier: GPL-2.0-or-later
// The payloads of commands in the stream.
#pragma once

#include "stream/reader.h"
#include "stream/writer.h"

namespace gc::stream {

/// POSTCOPY_ADVISE from a source with postcopy-ram (loadvm_postcopy_handle_advise in
/// migration/savevm.c).
struct Advise {
    std::uint64_t page_sizes;   ///< bitwise or of the page sizes of all RAM blocks, in bytes
    std::uint64_t target_page;  ///< bytes
};
/// Errors: protocol; unsupported, for a different target page or a source without postcopy-ram.
Result<Advise> parse_advise(std::span<const std::byte> payload);

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

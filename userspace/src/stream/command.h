// SPDX-License-Identifier: GPL-2.0-or-later
// What the commands of a stream carry.
#pragma once

#include "stream/reader.h"
#include "stream/writer.h"

namespace gc::stream {

/// POSTCOPY_ADVISE, of a source with postcopy-ram (loadvm_postcopy_handle_advise in
/// migration/savevm.c).
struct Advise {
    std::uint64_t page_sizes;   ///< of all RAM blocks, or'ed; bytes
    std::uint64_t target_page;  ///< bytes
};
/// Errors: protocol. Unsupported for another target page, or a source without postcopy-ram.
Result<Advise> parse_advise(std::span<const std::byte> payload);

/// The value that PING wants back in PONG. Errors: protocol.
Result<std::uint32_t> parse_ping(std::span<const std::byte> payload);

/// POSTCOPY_RAM_DISCARD: the destination forgets these pages.
struct Discard {
    std::string_view block;  ///< a view into the payload
    std::vector<PageRange> ranges;
};
/// Errors: protocol.
Result<Discard> parse_discard(std::span<const std::byte> payload);

}  // namespace gc::stream

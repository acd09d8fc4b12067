// SPDX-License-Identifier: GPL-2.0-or-later
// Builds a migration stream by appending to a buffer. No I/O.
// Names of RAM blocks and sections have at most max_name bytes (QEMU's char idstr[256]).
#pragma once

#include "stream/format.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace gc::stream {

using Buffer = std::vector<std::byte>;

void append(Buffer& out, std::span<const std::byte> bytes);
void append_be16(Buffer& out, std::uint16_t value);
void append_be32(Buffer& out, std::uint32_t value);
void append_be64(Buffer& out, std::uint64_t value);
/// A name preceded by its length in one byte.
void append_short_string(Buffer& out, std::string_view name);

void append_header(Buffer& out);
/// A configuration with these subsections, each in the form of Configuration::Subsection::bytes.
void append_configuration(Buffer& out, std::string_view machine,
                          std::span<const std::span<const std::byte>> subsections);
void append_eof(Buffer& out);
void append_vm_description(Buffer& out, std::string_view json);

void append_command(Buffer& out, CommandCode code, std::span<const std::byte> payload);
void append_ping(Buffer& out, std::uint32_t value);

struct PageRange {
    std::uint64_t first;  ///< page of the RAM block
    std::uint64_t count;
};
/// As many POSTCOPY_RAM_DISCARD commands as the ranges need.
void append_discard(Buffer& out, std::string_view block, std::span<const PageRange> ranges);

void append_section_part(Buffer& out, std::uint32_t id);
void append_section_footer(Buffer& out, std::uint32_t id);

/// A RAM record up to the page's bytes, which the caller appends unless `zero` is set.
/// @param block name of the RAM block, or empty for the block of the previous record on this
/// channel
void append_page_head(Buffer& out, std::uint64_t offset, std::string_view block, bool zero);
/// The end of the body of a RAM section, and of the preempt channel.
void append_end_of_ram(Buffer& out);

}  // namespace gc::stream

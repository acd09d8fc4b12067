// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream/writer.h"

#include <algorithm>
#include <concepts>

namespace gc::stream {
namespace {

template <std::unsigned_integral T> void append_be(Buffer& out, T value) {
    for (std::size_t i = sizeof(T); i-- > 0;)
        out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

void append_tag(Buffer& out, Tag tag) {
    out.push_back(static_cast<std::byte>(tag));
}

void append_text(Buffer& out, std::string_view text) {
    append(out, std::as_bytes(std::span(text)));
}

void append_tag_and_id(Buffer& out, Tag tag, std::uint32_t id) {
    append_tag(out, tag);
    append_be32(out, id);
}

}  // namespace

void append(Buffer& out, std::span<const std::byte> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
}
void append_be16(Buffer& out, std::uint16_t value) {
    append_be(out, value);
}
void append_be32(Buffer& out, std::uint32_t value) {
    append_be(out, value);
}
void append_be64(Buffer& out, std::uint64_t value) {
    append_be(out, value);
}

void append_short_string(Buffer& out, std::string_view name) {
    const std::string_view fits = name.substr(0, max_name);
    out.push_back(static_cast<std::byte>(fits.size()));
    append_text(out, fits);
}

void append_header(Buffer& out) {
    append_be32(out, file_magic);
    append_be32(out, file_version);
}

void append_configuration(Buffer& out, std::string_view machine,
                          std::span<const std::span<const std::byte>> subsections) {
    append_tag(out, Tag::configuration);
    append_be32(out, static_cast<std::uint32_t>(machine.size()));
    append_text(out, machine);
    for (const auto& subsection : subsections)
        append(out, subsection);
}

void append_eof(Buffer& out) {
    append_tag(out, Tag::eof);
}

void append_vm_description(Buffer& out, std::string_view json) {
    append_tag(out, Tag::vm_description);
    append_be32(out, static_cast<std::uint32_t>(json.size()));
    append_text(out, json);
}

void append_command(Buffer& out, CommandCode code, std::span<const std::byte> payload) {
    append_tag(out, Tag::command);
    append_be16(out, static_cast<std::uint16_t>(code));
    append_be16(out, static_cast<std::uint16_t>(payload.size()));
    append(out, payload);
}

void append_ping(Buffer& out, std::uint32_t value) {
    Buffer payload;
    append_be32(payload, value);
    append_command(out, CommandCode::ping, payload);
}

void append_discard(Buffer& out, std::string_view block, std::span<const PageRange> ranges) {
    constexpr std::size_t ranges_per_command = 12;  // like QEMU (MAX_DISCARDS_PER_COMMAND)
    while (!ranges.empty()) {
        const auto now = ranges.first(std::min(ranges.size(), ranges_per_command));
        ranges = ranges.subspan(now.size());
        Buffer payload;
        payload.push_back(std::byte{0});  // postcopy_ram_discard_version
        append_short_string(payload, block);
        payload.push_back(std::byte{0});  // end of the name
        for (const PageRange& range : now) {
            append_be64(payload, range.first * target_page);
            append_be64(payload, range.count * target_page);
        }
        append_command(out, CommandCode::postcopy_ram_discard, payload);
    }
}

void append_section_part(Buffer& out, std::uint32_t id) {
    append_tag_and_id(out, Tag::section_part, id);
}

void append_section_footer(Buffer& out, std::uint32_t id) {
    append_tag_and_id(out, Tag::section_footer, id);
}

void append_page_head(Buffer& out, std::uint64_t offset, std::string_view block, bool zero) {
    const std::uint64_t same = block.empty() ? std::uint64_t{ram_continue} : 0;
    append_be64(out, offset | (zero ? ram_zero : ram_page) | same);
    if (!block.empty())
        append_short_string(out, block);
    if (zero)
        out.push_back(std::byte{0});
}

void append_end_of_ram(Buffer& out) {
    append_be64(out, ram_eos);
}

}  // namespace gc::stream

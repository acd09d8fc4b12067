// SPDX-License-Identifier: GPL-2.0-or-later
// The parts of a stream that only a QEMU sends. gcctl passes them on.
#pragma once

#include "stream/package.h"
#include "stream/writer.h"

namespace gc::stream {

inline void append_package(Buffer& out, std::span<const std::byte> body) {
    Buffer length;
    append_be32(length, static_cast<std::uint32_t>(body.size()));
    append_command(out, CommandCode::packaged, length);
    append(out, body);
}

inline void append_section_start(Buffer& out, Tag tag, std::uint32_t id, std::string_view name,
                                 std::uint32_t instance, std::uint32_t version) {
    out.push_back(static_cast<std::byte>(tag));
    append_be32(out, id);
    append_short_string(out, name);
    append_be32(out, instance);
    append_be32(out, version);
}

inline void append_section_end(Buffer& out, std::uint32_t id) {
    out.push_back(static_cast<std::byte>(Tag::section_end));
    append_be32(out, id);
}

inline void append_block_list(Buffer& out, std::uint64_t total) {
    append_be64(out, total | ram_mem_size);
}

inline void append_block(Buffer& out, std::string_view name, std::uint64_t length,
                         std::optional<std::uint64_t> page_size,
                         std::optional<std::uint64_t> guest_address) {
    append_short_string(out, name);
    append_be64(out, length);
    if (page_size)
        append_be64(out, *page_size);
    if (guest_address)
        append_be64(out, *guest_address);
}

/// The body of a package with these parts and a single PING, as QEMU 7.2 sends it.
inline Buffer package_body(const PackageParts& parts) {
    Buffer out;
    append_command(out, CommandCode::postcopy_listen, {});
    append(out, parts.devices);
    append_ping(out, parts.last_ping);
    append_command(out, CommandCode::postcopy_run, {});
    return out;
}

}  // namespace gc::stream

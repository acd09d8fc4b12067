// SPDX-License-Identifier: GPL-2.0-or-later
// Small streams made with the writer, and the encoding of items.
#pragma once

#include "append.h"
#include "stream/reader.h"
#include "stream/writer.h"

#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace gc::stream::samples {

inline constexpr std::uint32_t ram_id = 2;
inline constexpr std::string_view machine = "pc-q35-7.2";

Buffer bytes(std::initializer_list<int> values);
Buffer concat(std::initializer_list<Buffer> parts);

Buffer header();
/// File header and a configuration without subsections.
Buffer preamble();
/// A subsection of the configuration.
Buffer subsection(std::string_view name, std::uint32_t version, const Buffer& fields);
Buffer capabilities(std::initializer_list<std::string_view> names);
/// START of ram up to its list of blocks: "pc.ram" with 16 pages, "rom" with 2. The body continues.
Buffer ram_begins();
/// preamble() and ram_begins().
Buffer until_ram();
Buffer record(std::uint64_t head);
Buffer page(std::string_view block, std::uint64_t number, std::uint8_t fill);
Buffer zero(std::string_view block, std::uint64_t number);
/// EOS and the section's footer.
Buffer ram_rests();
Buffer section(Tag tag, std::uint32_t id, std::string_view name, std::uint32_t version);
Buffer command(CommandCode code, const Buffer& payload = {});
/// A package with these pings: QEMU 7.2 sends 3, QEMU 10.2 and later 3 and 0x42.
Buffer package(std::initializer_list<std::uint32_t> pings);
/// A whole post-copy migration of 18 pages with every kind of item.
Buffer postcopy();

/// All items in the input, or the first error. Views in items point into the input and the reader.
template <typename Found, typename From>
Result<std::vector<Found>> read_all(From& reader, std::span<const std::byte> input) {
    std::vector<Found> found;
    for (;;) {
        GC_TRY(auto next, reader.next(input));
        if (!next)
            break;
        found.push_back(std::move(*next));
    }
    if (!input.empty())
        return fail(ErrorKind::io, "incomplete: {} bytes are left", input.size());
    return found;
}

/// Appends the item in the form that it has in the stream.
void encode(Buffer& out, const Item& item);

}  // namespace gc::stream::samples

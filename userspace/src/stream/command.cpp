// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream/command.h"

namespace gc::stream {

Result<std::uint32_t> parse_ping(std::span<const std::byte> payload) {
    Cursor in(payload);
    const auto value = in.be<std::uint32_t>();
    if (in.short_of_data() || !in.rest().empty())
        return fail(ErrorKind::protocol, "PING: expected 4 bytes, found {}", payload.size());
    return value;
}

Result<Discard> parse_discard(std::span<const std::byte> payload) {
    Cursor in(payload);
    const auto version = in.be<std::uint8_t>();
    Discard discard{in.short_string(), {}};
    const auto end_of_name = in.be<std::uint8_t>();
    if (in.short_of_data() || version != 0 || end_of_name != 0 || discard.block.empty() ||
        in.rest().empty() || in.rest().size() % (2 * sizeof(std::uint64_t)) != 0)
        return fail(ErrorKind::protocol, "malformed POSTCOPY_RAM_DISCARD of {} bytes",
                    payload.size());
    while (!in.rest().empty()) {
        const auto start = in.be<std::uint64_t>();
        const auto length = in.be<std::uint64_t>();
        if (start % target_page != 0 || length % target_page != 0)
            return fail(ErrorKind::protocol,
                        "POSTCOPY_RAM_DISCARD: expected whole pages of RAM block '{2}', found "
                        "0x{0:x} bytes at 0x{1:x}",
                        length, start, discard.block);
        discard.ranges.push_back({start / target_page, length / target_page});
    }
    return discard;
}

}  // namespace gc::stream

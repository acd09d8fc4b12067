// SPDX-License-Identifier: GPL-2.0-or-later
#include "link/frame.h"

namespace gc::link {

std::array<std::byte, frame_head_size> encode(FrameHead head) {
    return {static_cast<std::byte>(head.kind), static_cast<std::byte>(head.size >> 16),
            static_cast<std::byte>(head.size >> 8), static_cast<std::byte>(head.size)};
}

Result<FrameHead> decode(std::span<const std::byte, frame_head_size> bytes) {
    const auto kind = std::to_integer<unsigned>(bytes[0]);
    if (kind < static_cast<unsigned>(FrameKind::stream) ||
        kind > static_cast<unsigned>(FrameKind::last))
        return fail(ErrorKind::protocol,
                    "expected a frame of kind 1 to 3 from gcctl at the other end, got kind {}",
                    kind);
    return FrameHead{static_cast<FrameKind>(kind), std::to_integer<std::size_t>(bytes[1]) << 16 |
                                                       std::to_integer<std::size_t>(bytes[2]) << 8 |
                                                       std::to_integer<std::size_t>(bytes[3])};
}

}  // namespace gc::link

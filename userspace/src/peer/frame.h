// SPDX-License-Identifier: GPL-2.0-or-later
// How the channels "main" and "bulk" carry QEMU's stream: in frames, so that what comes on the two
// can be put together again into the one stream that the destination QEMU reads.
//
// A frame is a word of 32 bits, big-endian, with the kind in its upper 8 bits and the size in its
// lower 24, and then so many bytes. After a frame of main that is `sections`, and before the next,
// frames of bulk may go into the stream. What the destination QEMU says comes back on main as it
// is; on bulk a byte comes back for each frame that it was handed.
//
// A frame `split` is one of sections whose pages come apart, one after another at its end, as they
// are in a file of the source: so its kernel sends them from there, and nobody copies them. All
// numbers are of 16 bits, big-endian: how many pages there are, and for each how many bytes of
// what is around the pages come before it. Then come those bytes, and then the pages.
#pragma once

#include "util/error.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace gc::peer {

enum class FrameKind : std::uint8_t {
    stream = 1,    ///< may end in the middle of anything; on main only
    sections = 2,  ///< ends where another section may begin; on bulk it also begins so
    last = 3,      ///< the stream's end, to come after all of bulk; on main only
    split = 4,     ///< sections, with the pages behind all else; on bulk only
};

struct FrameHead {
    FrameKind kind = FrameKind::stream;
    std::size_t size = 0;  ///< of the bytes after it
    bool operator==(const FrameHead&) const = default;
};

inline constexpr std::size_t frame_head_size = 4;
inline constexpr std::size_t max_frame = 0xffffff;
/// On bulk, where the receiver holds a frame whole: sections of some dozen pages, or of one huge
/// page.
inline constexpr std::size_t max_bulk_frame = std::size_t{4} << 20;

/// What the receiver says on bulk for each frame.
inline constexpr std::array frame_taken{std::byte{1}};

/// @param size at most max_frame
std::array<std::byte, frame_head_size> encode(FrameHead head);
/// Errors: protocol (no kind of frame).
Result<FrameHead> decode(std::span<const std::byte, frame_head_size> bytes);
/// Reads a frame's head. @return false at the channel's end. Errors: io, protocol.
Result<bool> read_head(int fd, FrameHead& head);

/// What a split frame begins with; what is around the pages comes next.
/// @param cuts for each page how many bytes of that come before it; they fit into 16 bits
std::vector<std::byte> encode_cuts(std::span<const std::size_t> cuts);
/// A frame's bytes in the stream's order; they stay where they are. Errors: protocol.
Result<std::vector<std::span<const std::byte>>> parts_of(FrameKind kind,
                                                         std::span<const std::byte> frame);

}  // namespace gc::peer

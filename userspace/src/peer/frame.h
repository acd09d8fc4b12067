// SPDX-License-Identifier: GPL-2.0-or-later
// The frames in which the channels "main" and "bulk" carry QEMU's stream. The receiver merges the
// two channels back into the single stream that the destination QEMU reads.
//
// A frame is a head of 32 bits, big-endian, with the kind in the upper 8 bits and the size in the
// lower 24, followed by that many bytes. Frames of bulk may be inserted into the stream between a
// `sections` frame of main and the frame after it. In the other direction, main carries the
// destination QEMU's return path unframed, and bulk carries one byte for each frame passed on to
// QEMU.
//
// A `split` frame holds sections whose pages are moved to its end, in the order of a file at the
// source, so that the kernel can send them from there without a copy. All its numbers are 16 bits,
// big-endian: the number of pages, then for each page the number of remaining bytes before it. The
// remaining bytes follow, then the pages.
//
// A `zeros` frame holds nothing of the stream: it tells which pages are zeros (peer/zero_runs.h).
// It is not answered.
//
// A `compressed` frame holds another frame: its kind (8 bits), how it is compressed (8 bits), its
// size (32 bits, big-endian), then its content, compressed.
#pragma once

#include "peer/channel.h"
#include "peer/compression.h"
#include "util/error.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace gc::peer {

enum class FrameKind : std::uint8_t {
    stream = 1,      ///< may end anywhere, even in the middle of a record; main only
    sections = 2,    ///< ends at a section boundary; on bulk also starts at one
    last = 3,        ///< the end of the stream, to be sent after all of bulk; main only
    split = 4,       ///< sections with the pages moved to the end; bulk only
    zeros = 5,       ///< runs of zero pages, nothing of the stream; bulk only, since version 8
    compressed = 6,  ///< a frame of kind stream or sections, compressed; since version 9
};

struct FrameHead {
    FrameKind kind = FrameKind::stream;
    std::size_t size = 0;  ///< number of bytes that follow the head
    bool operator==(const FrameHead&) const = default;
};

inline constexpr std::size_t frame_head_size = 4;
inline constexpr std::size_t max_frame = 0xffffff;
/// Limit for bulk, where the receiver buffers whole frames: sections of a few dozen pages, or of
/// one huge page.
inline constexpr std::size_t max_bulk_frame = std::size_t{4} << 20;

/// The receiver's acknowledgement of a frame on bulk.
inline constexpr std::array frame_taken{std::byte{1}};

/// @param size at most max_frame
std::array<std::byte, frame_head_size> encode(FrameHead head);
/// Errors: protocol (unknown kind).
Result<FrameHead> decode(std::span<const std::byte, frame_head_size> bytes);
/// Reads a frame's head. @return false at the end of the channel. Errors: io, protocol.
Result<bool> read_head(Channel& from, FrameHead& head);

/// The start of a split frame. The remaining bytes and the pages follow it.
/// @param cuts for each page, the number of remaining bytes before it; must fit in 16 bits
std::vector<std::byte> encode_cuts(std::span<const std::size_t> cuts);
/// The bytes of a frame in stream order, without copying them. Errors: protocol.
Result<std::vector<std::span<const std::byte>>> parts_of(FrameKind kind,
                                                         std::span<const std::byte> frame);

/// What a frame of kind `compressed` holds.
struct CompressedHead {
    FrameKind kind = FrameKind::sections;  ///< stream or sections
    Compression how = Compression::lz4;
    std::size_t size = 0;  ///< of the content when it is decompressed: 1 to max_bulk_frame
    bool operator==(const CompressedHead&) const = default;
};
inline constexpr std::size_t compressed_head_size = 6;

/// The start of a compressed frame. The compressed bytes follow it.
std::array<std::byte, compressed_head_size> encode(CompressedHead head);

/// Decompresses frames. Not thread-safe.
class FrameUnpacker {
  public:
    /// Takes the content of a frame of kind `compressed`. @return the kind of the frame that it
    /// holds. Errors: protocol.
    Result<FrameKind> unpack(std::span<const std::byte> frame);
    /// The same, read from a channel. @param size of the frame. Errors: also io.
    Result<FrameKind> read(Channel& from, std::size_t size);
    /// Of the frame that the last one held; valid until the next one.
    [[nodiscard]] std::span<const std::byte> content() const { return content_; }

  private:
    Decompressor decompressor_;
    std::vector<std::byte> frame_;
    std::vector<std::byte> content_;
};

}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/frame.h"

#include "util/page.h"

#include <algorithm>

namespace gc::peer {
namespace {

constexpr std::size_t number_size = 2;

void append(std::vector<std::byte>& out, std::size_t number) {
    out.push_back(static_cast<std::byte>(number >> 8));
    out.push_back(static_cast<std::byte>(number));
}

/// @param index position of the number, counted from the beginning of the frame
std::size_t number_at(std::span<const std::byte> frame, std::size_t index) {
    const auto bytes = frame.subspan(index * number_size, number_size);
    return std::to_integer<std::size_t>(bytes[0]) << 8 | std::to_integer<std::size_t>(bytes[1]);
}

}  // namespace

std::array<std::byte, frame_head_size> encode(FrameHead head) {
    return {static_cast<std::byte>(head.kind), static_cast<std::byte>(head.size >> 16),
            static_cast<std::byte>(head.size >> 8), static_cast<std::byte>(head.size)};
}

Result<FrameHead> decode(std::span<const std::byte, frame_head_size> bytes) {
    const auto kind = std::to_integer<unsigned>(bytes[0]);
    if (kind < static_cast<unsigned>(FrameKind::stream) ||
        kind > static_cast<unsigned>(FrameKind::compressed))
        return fail(ErrorKind::protocol,
                    "expected a frame of kind 1 to 6 from the other gcctl, found kind {}", kind);
    return FrameHead{static_cast<FrameKind>(kind), std::to_integer<std::size_t>(bytes[1]) << 16 |
                                                       std::to_integer<std::size_t>(bytes[2]) << 8 |
                                                       std::to_integer<std::size_t>(bytes[3])};
}

Result<bool> read_head(Channel& from, FrameHead& head) {
    std::array<std::byte, frame_head_size> bytes;
    GC_TRY(const bool more, from.read_whole(bytes));
    if (!more)
        return false;
    GC_TRY(head, decode(bytes));
    return true;
}

std::vector<std::byte> encode_cuts(std::span<const std::size_t> cuts) {
    std::vector<std::byte> out;
    out.reserve((1 + cuts.size()) * number_size);
    append(out, cuts.size());
    for (const std::size_t cut : cuts)
        append(out, cut);
    return out;
}

Result<std::vector<std::span<const std::byte>>> parts_of(FrameKind kind,
                                                         std::span<const std::byte> frame) {
    if (kind != FrameKind::split)
        return std::vector{frame};
    const std::size_t pages = frame.size() < number_size ? 0 : number_at(frame, 0);
    const std::size_t numbers = (1 + pages) * number_size;
    const std::size_t data = pages * page_size;
    if (frame.size() < numbers + data)
        return fail(ErrorKind::protocol,
                    "expected a split frame of at least {} bytes for its {} pages, found {}",
                    numbers + data, pages, frame.size());
    const auto around = frame.subspan(numbers, frame.size() - numbers - data);
    std::vector<std::span<const std::byte>> parts;
    parts.reserve(2 * pages + 1);
    std::size_t from = 0;
    for (std::size_t page = 0; page < pages; ++page) {
        const std::size_t cut = number_at(frame, 1 + page);
        if (cut < from || cut > around.size())
            return fail(ErrorKind::protocol,
                        "split frame: page {} is at byte {}, expected {} to {}", page, cut, from,
                        around.size());
        parts.push_back(around.subspan(from, cut - from));
        parts.push_back(frame.subspan(frame.size() - data + page * page_size, page_size));
        from = cut;
    }
    parts.push_back(around.subspan(from));
    return parts;
}

std::array<std::byte, compressed_head_size> encode(CompressedHead head) {
    return {static_cast<std::byte>(head.kind),       static_cast<std::byte>(head.how),
            static_cast<std::byte>(head.size >> 24), static_cast<std::byte>(head.size >> 16),
            static_cast<std::byte>(head.size >> 8),  static_cast<std::byte>(head.size)};
}

Result<FrameKind> FrameUnpacker::unpack(std::span<const std::byte> frame) {
    if (frame.size() < compressed_head_size)
        return fail(ErrorKind::protocol, "a compressed frame of {} bytes has no head",
                    frame.size());
    const auto kind = static_cast<FrameKind>(frame[0]);
    const auto how = static_cast<Compression>(frame[1]);
    const std::size_t size = number_at(frame, 1) << 16 | number_at(frame, 2);
    if ((kind != FrameKind::stream && kind != FrameKind::sections) ||
        std::ranges::find(compressions, how) == compressions.end() || size == 0 ||
        size > max_bulk_frame)
        return fail(ErrorKind::protocol,
                    "expected 1 to {} bytes of kind 1 or 2, compressed by 1 or 2, in a compressed "
                    "frame; found {} bytes of kind {}, compressed by {}",
                    max_bulk_frame, size, static_cast<unsigned>(kind), static_cast<unsigned>(how));
    content_.resize(size);
    GC_CHECK(decompressor_.decompress(how, frame.subspan(compressed_head_size), content_));
    return kind;
}

Result<FrameKind> FrameUnpacker::read(Channel& from, std::size_t size) {
    if (size > max_bulk_frame)
        return fail(ErrorKind::protocol,
                    "expected a compressed frame of at most {} bytes, found {}", max_bulk_frame,
                    size);
    frame_.resize(size);
    GC_TRY(const bool whole, from.read_whole(frame_));
    if (!whole)
        return fail(ErrorKind::io, "the channel ended within a frame");
    return unpack(frame_);
}

}  // namespace gc::peer

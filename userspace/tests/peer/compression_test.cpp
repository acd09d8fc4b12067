// SPDX-License-Identifier: GPL-2.0-or-later
// Compressed frames: what fits is read as it was written, and nothing else gets through.
#include "peer/frame.h"

#include "bytes_of.h"

#include <gmock/gmock.h>
#include <string>

namespace gc::peer {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

/// Bytes that shrink, and are no multiple of anything.
Bytes shrinking(std::size_t size = 70'001) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<std::byte>(i / 64);
    return bytes;
}

/// Bytes that do not.
Bytes random_bytes(std::size_t size) {
    Bytes bytes(size);
    std::uint64_t random = 88172645463325252U;
    for (std::byte& byte : bytes) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        byte = static_cast<std::byte>(random >> 56);
    }
    return bytes;
}

Bytes packed(const Bytes& content, Compression how, FrameKind kind = FrameKind::sections) {
    Compressor compressor;
    const auto result = compressor.compress(how, content, content.size());
    EXPECT_TRUE(result);
    const auto head = encode(CompressedHead{kind, how, content.size()});
    Bytes frame(head.begin(), head.end());
    frame.insert(frame.end(), result->begin(), result->end());
    return frame;
}

std::string error_of(std::span<const std::byte> frame) {
    FrameUnpacker unpacker;
    const auto kind = unpacker.unpack(frame);
    EXPECT_FALSE(kind);
    if (kind)
        return "";
    EXPECT_EQ(kind.error().kind, ErrorKind::protocol);
    return kind.error().message;
}

class Compressed : public testing::TestWithParam<Compression> {};

TEST_P(Compressed, AFrameIsReadAsItWasWritten) {
    FrameUnpacker unpacker;
    for (const std::size_t size : {std::size_t{100}, std::size_t{4096}, std::size_t{70'001}})
        for (const FrameKind kind : {FrameKind::stream, FrameKind::sections}) {
            const Bytes content = shrinking(size);
            const Bytes frame = packed(content, GetParam(), kind);
            EXPECT_LT(frame.size(), size);
            EXPECT_EQ(unpacker.unpack(frame).value(), kind);
            EXPECT_EQ(Bytes(unpacker.content().begin(), unpacker.content().end()), content);
        }
}

TEST_P(Compressed, WhatDoesNotShrinkIsLeftAsItIs) {
    Compressor compressor;
    EXPECT_FALSE(compressor.compress(GetParam(), random_bytes(4096), 4096 * 95 / 100));
    EXPECT_TRUE(compressor.compress(GetParam(), shrinking(), 4096)) << "it is still of use";
}

TEST_P(Compressed, WhatIsCutIsRefused) {
    const Bytes frame = packed(shrinking(), GetParam());
    for (std::size_t size = 0; size < frame.size(); ++size)
        error_of(std::span(frame).first(size));
}

TEST_P(Compressed, WhatFollowsIsRefused) {
    Bytes frame = packed(shrinking(), GetParam());
    const Bytes twice = packed(shrinking(), GetParam());
    frame.insert(frame.end(), twice.begin() + compressed_head_size, twice.end());
    error_of(frame);
}

TEST_P(Compressed, NoMoreAndNoLessThanWasAnnouncedIsTaken) {
    const Bytes content = shrinking();
    for (const std::size_t size :
         {content.size() - 1, content.size() + 1, std::size_t{1}, max_bulk_frame}) {
        Bytes frame = packed(content, GetParam());
        std::ranges::copy(encode(CompressedHead{FrameKind::sections, GetParam(), size}),
                          frame.begin());
        error_of(frame);
    }
}

/// Whatever is changed, it yields what was announced or an error.
TEST_P(Compressed, AChangedByteIsNoHarm) {
    const Bytes frame = packed(shrinking(5000), GetParam());
    FrameUnpacker unpacker;
    for (std::size_t at = compressed_head_size; at < frame.size(); ++at)
        for (const unsigned bit : {0U, 3U, 7U}) {
            Bytes changed = frame;
            changed[at] ^= static_cast<std::byte>(1U << bit);
            if (unpacker.unpack(changed)) {
                EXPECT_EQ(unpacker.content().size(), 5000U);
            }
        }
}

INSTANTIATE_TEST_SUITE_P(Each, Compressed, testing::ValuesIn(compressions),
                         [](const auto& param) { return std::string(name(param.param)); });

TEST(CompressedFrame, OnlySomeFramesMayBeCompressed) {
    for (const unsigned kind : {0U, 3U, 4U, 5U, 6U, 255U})
        EXPECT_THAT(error_of(packed(shrinking(), Compression::lz4, static_cast<FrameKind>(kind))),
                    HasSubstr("of kind " + std::to_string(kind)));
}

TEST(CompressedFrame, AnUnknownCompressionIsRefused) {
    Bytes frame = packed(shrinking(), Compression::lz4);
    for (const unsigned how : {0U, 3U, 255U}) {
        frame[1] = static_cast<std::byte>(how);
        EXPECT_THAT(error_of(frame), HasSubstr("compressed by " + std::to_string(how)));
    }
}

TEST(CompressedFrame, TheSizeIsLimitedBeforeMemoryIsTaken) {
    Bytes frame = packed(shrinking(), Compression::zstd);
    for (const std::size_t size : {std::size_t{0}, max_bulk_frame + 1, std::size_t{0xffffffff}}) {
        std::ranges::copy(encode(CompressedHead{FrameKind::sections, Compression::zstd, size}),
                          frame.begin());
        EXPECT_THAT(error_of(frame), HasSubstr(std::to_string(size) + " bytes of kind 2"));
    }
}

TEST(CompressedFrame, SkippableDataIsNoContent) {
    // A skippable frame of libzstd, which it would read as nothing.
    Bytes frame(compressed_head_size + 12);
    std::ranges::copy(encode(CompressedHead{FrameKind::sections, Compression::zstd, 1}),
                      frame.begin());
    std::ranges::copy(bytes_of(std::string_view("\x50\x2a\x4d\x18\x04\0\0\0abcd", 12)),
                      frame.begin() + compressed_head_size);
    EXPECT_THAT(error_of(frame), HasSubstr("malformed"));
}

TEST(CompressionNames, AreReadAsTheyWereWritten) {
    for (const Compression how : compressions)
        EXPECT_EQ(compression_of(name(how)), how);
    EXPECT_FALSE(compression_of("gzip"));
}

}  // namespace
}  // namespace gc::peer

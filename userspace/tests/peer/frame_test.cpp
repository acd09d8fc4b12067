// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/frame.h"

#include "util/page.h"

#include <gtest/gtest.h>
#include <string>
#include <string_view>

namespace gc::peer {
namespace {

TEST(Frame, HeadsAreReadAsTheyWereWritten) {
    for (const FrameKind kind : {FrameKind::stream, FrameKind::sections, FrameKind::last,
                                 FrameKind::split, FrameKind::zeros, FrameKind::compressed})
        for (const std::size_t size :
             {std::size_t{0}, std::size_t{1}, std::size_t{0x10203}, max_frame})
            EXPECT_EQ(decode(encode({kind, size})).value(), (FrameHead{kind, size}));
}

TEST(Frame, TheKindIsInTheUpperByte) {
    EXPECT_EQ(encode({FrameKind::sections, 0x10203}),
              (std::array{std::byte{2}, std::byte{1}, std::byte{2}, std::byte{3}}));
}

TEST(Frame, AnUnknownKindIsRefused) {
    for (const unsigned kind : {0U, 7U, 255U}) {
        const std::array bytes{static_cast<std::byte>(kind), std::byte{}, std::byte{}, std::byte{}};
        const auto head = decode(bytes);
        ASSERT_FALSE(head);
        EXPECT_EQ(head.error().kind, ErrorKind::protocol);
        EXPECT_NE(head.error().message.find(std::to_string(kind)), std::string::npos);
    }
}

/// A split frame with these remaining bytes and a number of pages, filled with 'A', 'B', ...
std::vector<std::byte> split_frame(const std::vector<std::size_t>& cuts, std::string_view around,
                                   std::size_t pages) {
    std::vector<std::byte> frame = encode_cuts(cuts);
    for (const char c : around)
        frame.push_back(static_cast<std::byte>(c));
    for (std::size_t page = 0; page < pages; ++page)
        frame.insert(frame.end(), page_size, static_cast<std::byte>('A' + page));
    return frame;
}

/// The parts of a frame, with each page as one letter, or the error's message.
std::string join(const std::vector<std::byte>& frame) {
    const auto parts = parts_of(FrameKind::split, frame);
    if (!parts)
        return parts.error().message;
    std::string joined;
    for (const std::span<const std::byte> part : *parts)
        for (std::size_t i = 0; i < part.size(); i += part.size() == page_size ? page_size : 1)
            joined += static_cast<char>(part[i]);
    return joined;
}

TEST(SplitFrame, PagesAreWhereTheyWere) {
    EXPECT_EQ(join(split_frame({2, 4, 4}, "1:2:.", 3)), "1:A2:BC.");
    EXPECT_EQ(join(split_frame({0}, "", 1)), "A");
    EXPECT_EQ(join(split_frame({}, "none", 0)), "none");
}

TEST(SplitFrame, WhatDoesNotFitIsRefused) {
    EXPECT_NE(join({}).find("at least 2 bytes"), std::string::npos);
    EXPECT_NE(join(split_frame({1, 2}, "ab", 1)).find("at least 8198 bytes for its 2 pages"),
              std::string::npos);
    EXPECT_NE(join(split_frame({2, 1}, "ab", 2)).find("page 1 is at byte 1, expected 2 to 2"),
              std::string::npos);
    EXPECT_NE(join(split_frame({3}, "ab", 1)).find("is at byte 3, expected 0 to 2"),
              std::string::npos);
}

}  // namespace
}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "link/frame.h"

#include <gtest/gtest.h>

namespace gc::link {
namespace {

TEST(Frame, HeadsAreReadAsTheyWereWritten) {
    for (const FrameKind kind : {FrameKind::stream, FrameKind::sections, FrameKind::last})
        for (const std::size_t size :
             {std::size_t{0}, std::size_t{1}, std::size_t{0x10203}, max_frame})
            EXPECT_EQ(decode(encode({kind, size})).value(), (FrameHead{kind, size}));
}

TEST(Frame, TheKindIsInTheUpperByte) {
    EXPECT_EQ(encode({FrameKind::sections, 0x10203}),
              (std::array{std::byte{2}, std::byte{1}, std::byte{2}, std::byte{3}}));
}

TEST(Frame, AnUnknownKindIsRefused) {
    for (const unsigned kind : {0U, 4U, 255U}) {
        const std::array bytes{static_cast<std::byte>(kind), std::byte{}, std::byte{}, std::byte{}};
        const auto head = decode(bytes);
        ASSERT_FALSE(head);
        EXPECT_EQ(head.error().kind, ErrorKind::protocol);
        EXPECT_NE(head.error().message.find(std::to_string(kind)), std::string::npos);
    }
}

}  // namespace
}  // namespace gc::link

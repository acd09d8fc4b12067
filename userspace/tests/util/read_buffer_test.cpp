// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/read_buffer.h"

#include <array>
#include <gtest/gtest.h>
#include <string>
#include <sys/socket.h>

namespace gc::util {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

std::string text_of(const ReadBuffer& buffer) {
    return {reinterpret_cast<const char*>(buffer.bytes().data()), buffer.bytes().size()};
}

TEST(ReadBuffer, KeepsWhatIsNotConsumed) {
    ReadBuffer buffer;
    EXPECT_TRUE(buffer.bytes().empty());
    buffer.append(bytes_of("abc"));
    buffer.keep(1);
    buffer.append(bytes_of("de"));
    EXPECT_EQ(text_of(buffer), "cde");
    buffer.keep(0);
    EXPECT_TRUE(buffer.bytes().empty());
}

TEST(ReadBuffer, GrowsWithTheRest) {
    ReadBuffer buffer;
    std::string expected;
    for (int i = 0; i < 100; ++i) {
        const std::string piece(ReadBuffer::chunk / 8 + 1, static_cast<char>('a' + i % 26));
        buffer.append(bytes_of(piece));
        expected += piece;
        if (i % 10 == 9) {
            expected.erase(0, expected.size() / 3);
            buffer.keep(expected.size());
        }
    }
    EXPECT_EQ(text_of(buffer), expected);
}

TEST(ReadBuffer, FillsFromADescriptorUpToItsEnd) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    const UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    ASSERT_TRUE(write_all(writer.get(), bytes_of("abcd")));
    ReadBuffer buffer;
    EXPECT_EQ(buffer.fill(reader.get(), 3).value(), 3U);
    EXPECT_EQ(text_of(buffer), "abc");
    EXPECT_EQ(buffer.fill(reader.get()).value(), 1U);
    EXPECT_EQ(text_of(buffer), "abcd");
    writer.reset();
    EXPECT_EQ(buffer.fill(reader.get()).value(), 0U);
    EXPECT_FALSE(buffer.fill(-1));
}

TEST(ReadBuffer, TakesLines) {
    ReadBuffer buffer;
    EXPECT_EQ(buffer.take_line(), std::nullopt);
    buffer.append(bytes_of("one\n\ntw"));
    EXPECT_EQ(buffer.take_line(), "one");
    EXPECT_EQ(buffer.take_line(), "");
    EXPECT_EQ(buffer.take_line(), std::nullopt);
    EXPECT_EQ(text_of(buffer), "tw");
    buffer.append(bytes_of("o\nthree"));
    EXPECT_EQ(buffer.take_line(), "two");
    EXPECT_EQ(buffer.take_line(), std::nullopt);
    EXPECT_EQ(text_of(buffer), "three");
}

TEST(ReadBuffer, FindsALineThatBytesWereConsumedOf) {
    ReadBuffer buffer;
    buffer.append(bytes_of("abcdef"));
    EXPECT_EQ(buffer.take_line(), std::nullopt);
    buffer.keep(1);
    buffer.append(bytes_of("\n"));
    EXPECT_EQ(buffer.take_line(), "f");
}

}  // namespace
}  // namespace gc::util

// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream/command.h"

#include "samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gc::stream {
namespace {

using samples::bytes;
using testing::HasSubstr;

Buffer discard(const Buffer& name, std::initializer_list<std::uint64_t> numbers) {
    Buffer out = name;
    for (const std::uint64_t number : numbers)
        append_be64(out, number);
    return out;
}

template <typename T> void expect_refused(const Result<T>& result, std::string_view says) {
    ASSERT_FALSE(result);
    EXPECT_THAT(result.error().message, HasSubstr(says));
}

TEST(Ping, HasAValue) {
    EXPECT_EQ(parse_ping(bytes({0, 0, 1, 2})), 0x102U);
}
TEST(Ping, OfAnotherLength) {
    expect_refused(parse_ping(bytes({0})), "expected 4 bytes, found 1");
}

TEST(Discard, HasRanges) {
    const Buffer payload = discard(bytes({0, 1, 'm', 0}), {0x2000, 0x3000, 0x10000, 0x1000});
    const auto parsed = parse_discard(payload);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->block, "m");
    ASSERT_EQ(parsed->ranges.size(), 2U);
    EXPECT_EQ(parsed->ranges[0].first, 2U);
    EXPECT_EQ(parsed->ranges[0].count, 3U);
    EXPECT_EQ(parsed->ranges[1].first, 16U);
}
TEST(Discard, OfAnotherVersion) {
    expect_refused(parse_discard(discard(bytes({1, 1, 'm', 0}), {0, 0x1000})), "malformed");
}
TEST(Discard, WithoutANamesEnd) {
    expect_refused(parse_discard(discard(bytes({0, 1, 'm', 'x'}), {0, 0x1000})), "malformed");
}
TEST(Discard, WithoutAName) {
    expect_refused(parse_discard(discard(bytes({0, 0, 0}), {0, 0x1000})), "malformed");
}
TEST(Discard, WithAnEndlessName) {
    expect_refused(parse_discard(bytes({0, 200, 'm', 0})), "malformed");
}
TEST(Discard, WithoutRanges) {
    expect_refused(parse_discard(bytes({0, 1, 'm', 0})), "malformed");
}
TEST(Discard, WithHalfARange) {
    expect_refused(parse_discard(discard(bytes({0, 1, 'm', 0}), {0})), "malformed");
}
TEST(Discard, OfHalfAPage) {
    expect_refused(parse_discard(discard(bytes({0, 1, 'm', 0}), {0, 0x800})),
                   "expected whole pages");
    expect_refused(parse_discard(discard(bytes({0, 1, 'm', 0}), {0x800, 0x1000})),
                   "expected whole pages");
}

}  // namespace
}  // namespace gc::stream

// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/units.h"

#include <gtest/gtest.h>

namespace gc::util {
namespace {

using namespace std::chrono_literals;

TEST(ParseRate, BytesInPowersOf1024) {
    EXPECT_EQ(parse_rate("4096").value(), 4096U);
    EXPECT_EQ(parse_rate("64K").value(), 64U << 10);
    EXPECT_EQ(parse_rate("1.5M").value(), 3U << 19);
    EXPECT_EQ(parse_rate("2G").value(), std::uint64_t{2} << 30);
}

TEST(ParseRate, BitsInPowersOf1000AsTc) {
    EXPECT_EQ(parse_rate("800mbit").value(), 100'000'000U);
    EXPECT_EQ(parse_rate("10gbit").value(), 1'250'000'000U);
    EXPECT_EQ(parse_rate("8bit").value(), 1U);
}

TEST(ParseRate, RefusesWhatIsNoRate) {
    for (const char* text :
         {"", "fast", "10X", "-1", "0", "10 M", "M", "1e400", "99999999999999G", "nan"}) {
        const auto rate = parse_rate(text);
        ASSERT_FALSE(rate) << text;
        EXPECT_EQ(rate.error().kind, ErrorKind::usage);
        EXPECT_NE(rate.error().message.find("800mbit"), std::string::npos)
            << "says what was expected";
    }
}

TEST(ParseSize, BytesInPowersOf1024) {
    EXPECT_EQ(parse_size("4096").value(), 4096U);
    EXPECT_EQ(parse_size("512M").value(), 512U << 20);
    EXPECT_EQ(parse_size("4G").value(), std::uint64_t{4} << 30);
    EXPECT_EQ(parse_size("0").value(), 0U);
    for (const char* text : {"", "big", "10X", "-1", "1 M", "10mbit"}) {
        const auto size = parse_size(text);
        ASSERT_FALSE(size) << text;
        EXPECT_NE(size.error().message.find("512M"), std::string::npos);
    }
}

TEST(ParseDuration, Units) {
    EXPECT_EQ(parse_duration("250ms").value(), 250ms);
    EXPECT_EQ(parse_duration("10s").value(), 10s);
    EXPECT_EQ(parse_duration("1.5").value(), 1500ms);
    EXPECT_EQ(parse_duration("2min").value(), 2min);
    EXPECT_EQ(parse_duration("0").value(), 0ms);
}

TEST(ParseDuration, RefusesWhatIsNoDuration) {
    for (const char* text : {"", "soon", "5h", "-1s", "1 s", "inf"})
        EXPECT_FALSE(parse_duration(text)) << text;
    EXPECT_EQ(parse_duration("5x").error().message,
              "invalid duration '5x' (expected e.g. 10s, 250ms)");
}

}  // namespace
}  // namespace gc::util

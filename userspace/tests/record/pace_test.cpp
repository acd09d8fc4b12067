// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/pace.h"

#include <gtest/gtest.h>

namespace gc::record {
namespace {

using namespace std::chrono_literals;

TEST(Pace, AHundredTimesTheCost) {
    Pace pace(std::nullopt);
    EXPECT_EQ(pace.length(), 1s) << "before it is known what it costs";
    pace.ended(130ms);
    EXPECT_EQ(pace.length(), 13s);
    pace.ended(10'000'001ns);
    EXPECT_EQ(pace.length(), 1001ms);
    pace.ended(1us);
    EXPECT_EQ(pace.length(), 1s) << "no shorter than that";
}

TEST(Pace, AsTheUserSays) {
    Pace pace(5ms);
    pace.ended(10s);
    EXPECT_EQ(pace.length(), 5ms);
}

}  // namespace
}  // namespace gc::record

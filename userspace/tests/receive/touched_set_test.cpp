// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/touch_meter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gc::receive {
namespace {

using measure::Touched;
using testing::ElementsAre;

constexpr std::uint64_t kib = 1024;

/// Pages 0-9 are small (4 KiB); pages 10-1033 are in huge pages (2 MiB).
TouchedSet two_blocks() {
    return TouchedSet({{"a", 40 * kib, 4 * kib}, {"b", 4096 * kib, 2048 * kib}});
}

TEST(TouchedSet, RunsOfABlock) {
    TouchedSet set = two_blocks();
    set.touch(1, 1);
    set.touch(2, 1);
    set.touch(8, 4);
    set.touch(2, 1);
    EXPECT_EQ(set.touched(), 6U);
    EXPECT_EQ(set.asked(), 0U);
    EXPECT_THAT(set.result(),
                ElementsAre(Touched{"a", false, {{1, 2}, {8, 2}}}, Touched{"b", false, {{0, 2}}}));
}

TEST(TouchedSet, WhatWasAskedForIsTouchedToo) {
    TouchedSet set = two_blocks();
    set.touch(3, 2);
    set.ask("a", std::uint64_t{4} * 4 * kib);
    set.ask("a", std::uint64_t{4} * 4 * kib);
    set.ask("a", std::uint64_t{9} * 4 * kib);
    set.touch(4, 1);
    EXPECT_EQ(set.touched(), 3U);
    EXPECT_EQ(set.asked(), 2U);
    EXPECT_THAT(set.result(),
                ElementsAre(Touched{"a", false, {{3, 1}}}, Touched{"a", true, {{4, 1}, {9, 1}}}));
}

TEST(TouchedSet, AHugePageIsAskedForAsAWhole) {
    TouchedSet set = two_blocks();
    set.ask("b", 4096 * kib - 4 * kib);
    EXPECT_EQ(set.asked(), 512U);
    EXPECT_THAT(set.result(), ElementsAre(Touched{"b", true, {{512, 512}}}));
}

TEST(TouchedSet, WhatIsNoGuestRamIsLeftOut) {
    TouchedSet set = two_blocks();
    set.ask("vga.vram", 0);
    set.ask("a", 40 * kib);
    set.touch(1034, 1);
    set.touch(1033, UINT64_MAX);
    EXPECT_EQ(set.touched(), 1U);
    EXPECT_THAT(set.result(), ElementsAre(Touched{"b", false, {{1023, 1}}}));
}

}  // namespace
}  // namespace gc::receive

// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/guide_match.h"

#include <gtest/gtest.h>

namespace gc::transfer {
namespace {

constexpr std::uint64_t pages_a_block = 1 << 16;
constexpr std::uint64_t window = GuideMatch::window;

class Match : public testing::Test {
  protected:
    Match() { match.begin({{"pc.ram", pages_a_block, 1}, {"huge", pages_a_block, 512}}); }

    void request(std::uint64_t first, std::uint64_t count) {
        for (std::uint64_t page = first; page < first + count; ++page)
            match.requested({0, page});
    }
    void touch(std::uint64_t first, std::uint64_t count) {
        for (std::uint64_t page = first; page < first + count; ++page)
            match.touched({0, page});
    }

    GuideMatch match;
};

TEST_F(Match, AGuideOnAWayOfItsOwnHasDiverged) {
    request(0, window);
    touch(10000, window);
    const auto apart = match.judge(window);
    ASSERT_TRUE(apart);
    EXPECT_EQ(apart->requests, window);
    EXPECT_EQ(apart->matched, 0U);
    EXPECT_EQ(apart->pushed, window);
    EXPECT_FALSE(match.judge(2 * window)) << "each request is judged once";
}

TEST_F(Match, AGuideJustAheadOfItsVmHasNot) {
    touch(0, window);
    request(0, window);
    EXPECT_FALSE(match.judge(window));
}

TEST_F(Match, AGuideBehindItsVmHasNot) {
    request(0, window);
    touch(0, window);
    EXPECT_FALSE(match.judge(window));
}

TEST_F(Match, AFewPagesInCommonAreChance) {
    touch(0, window / GuideMatch::min_match - 1);
    request(0, window);
    ASSERT_TRUE(match.judge(window));
    touch(10000, window / GuideMatch::min_match + 1);
    request(10000, window);
    EXPECT_FALSE(match.judge(2 * window)) << "one in twenty is not";
}

TEST_F(Match, AGuideOfOneActivityOfSeveralIsLeftAlone) {
    request(0, window);
    EXPECT_FALSE(match.judge(GuideMatch::max_pushes * window + 1));
}

TEST_F(Match, AGuideThatPushesLittleDoesNoHarm) {
    request(0, 10 * window);
    EXPECT_FALSE(match.judge(window - 1));
}

TEST_F(Match, RequestsBeforeTheGuideRanDoNotCount) {
    request(0, window);
    EXPECT_FALSE(match.judge(0));
    EXPECT_FALSE(match.judge(window));
}

TEST_F(Match, AHugePageIsKnownByItsFirstPage) {
    for (std::uint64_t host_page = 0; host_page < pages_a_block; host_page += 512) {
        match.touched({1, host_page + 77});
        for (int i = 0; i < 8; ++i)
            match.requested({1, host_page});
    }
    EXPECT_FALSE(match.judge(window));
}

TEST_F(Match, OneInEightIsInTheSampleWhateverTheStride) {
    for (const std::uint64_t stride : {1, 2, 8, 64, 512}) {
        std::uint64_t sampled = 0;
        for (std::uint64_t i = 0; i < 8000; ++i)
            sampled += GuideMatch::sampled({0, i * stride}) ? 1 : 0;
        EXPECT_GT(sampled, 800U) << "stride " << stride;
        EXPECT_LT(sampled, 1200U) << "stride " << stride;
    }
}

}  // namespace
}  // namespace gc::transfer

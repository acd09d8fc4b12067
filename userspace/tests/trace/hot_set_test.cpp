// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/hot_set.h"
#include "trace/page_intervals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>
#include <tuple>

namespace gc::trace {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Epoch epoch(std::initializer_list<std::uint64_t> pages) {
    Epoch made;
    for (const std::uint64_t page : pages)
        made.add({.page = page, .kind = AccessKind::any});
    return made;
}

std::vector<std::uint64_t> order(const std::vector<Epoch>& epochs) {
    const Trace trace{{Mode::order, 1, {{"m", 4096 * 1024, 4096}}}, epochs};
    std::vector<std::uint64_t> pages;
    for (const Place& hot : hot_set(trace))
        pages.push_back(hot.page);
    return pages;
}

TEST(HotSet, NothingTouched) {
    EXPECT_THAT(order({}), IsEmpty());
    EXPECT_THAT(order({epoch({})}), IsEmpty());
}

TEST(HotSet, OneEpochIsInItsOwnOrder) {
    EXPECT_THAT(order({epoch({9, 2, 3, 1})}), ElementsAre(9, 2, 3, 1));
}

TEST(HotSet, WhatWasTouchedMoreOftenIsHotter) {
    // 5: 1 + 2 + 3, 7: 2 + 3, 8: 3.
    EXPECT_THAT(order({epoch({5}), epoch({5, 7}), epoch({8, 7, 5})}), ElementsAre(5, 7, 8));
}

TEST(HotSet, WhatWasTouchedLaterIsHotter) {
    EXPECT_THAT(order({epoch({1}), epoch({2}), epoch({3})}), ElementsAre(3, 2, 1));
}

TEST(HotSet, OfEqualHeatTheMoreRecentGoesFirst) {
    // 1: 1 + 2, 2: 3.
    EXPECT_THAT(order({epoch({1}), epoch({1}), epoch({2})}), ElementsAre(2, 1));
}

TEST(HotSet, PagesOfHugePagesCountOnceAnEpoch) {
    Epoch overlapping;
    overlapping.touches = {{.page = 4, .kind = AccessKind::read, .order = 2},
                           {.page = 6, .kind = AccessKind::read}};
    EXPECT_THAT(order({overlapping, epoch({5})}), ElementsAre(5, 4, 6, 7));
}

TEST(HotSet, IsToldByBlock) {
    const Trace trace{{Mode::order, 1, {{"a", 4096 * 2, 4096}, {"b", 4096 * 2, 4096}}},
                      {epoch({3, 0, 2, 1})}};
    EXPECT_THAT(hot_set(trace), ElementsAre(Place{1, 1}, Place{0, 0}, Place{1, 0}, Place{0, 1}));
}

TEST(HotSet, IsThatOfEachPageByItself) {
    // Runs that overlap in every way, against the definition: a page's heat is the sum of the
    // numbers of the epochs that touch it.
    std::mt19937 random(7);
    for (int round = 0; round < 200; ++round) {
        std::vector<Epoch> epochs(4);
        std::map<std::uint64_t, std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>> heats;
        for (std::uint64_t number = 1; number <= epochs.size(); ++number) {
            std::uint64_t place = 0;
            for (int i = 0; i < 6; ++i) {
                const Touch touch{.page = random() % 40, .count = 1 + random() % 12};
                epochs[number - 1].touches.push_back(touch);
                for (std::uint64_t page = touch.page; page < touch.page + touch.count; ++page) {
                    auto& [heat, last, at] = heats[page];
                    if (last != number) {
                        heat += number;
                        last = number;
                        at = place++;
                    }
                }
            }
        }
        std::vector<std::uint64_t> expected;
        for (const auto& [page, heat] : heats)
            expected.push_back(page);
        std::ranges::stable_sort(expected, {}, [&](std::uint64_t page) {
            const auto& [heat, last, place] = heats.at(page);
            return std::tuple(~heat, ~last, place);
        });
        ASSERT_EQ(order(epochs), expected) << "round " << round;
    }
}

/// 47 bytes in a file.
TEST(HotSet, OfAHugeRunIsBounded) {
    Trace trace{{Mode::age, 1, {{"m", std::uint64_t{1} << 44, 4096}}}, {Epoch{}}};
    trace.epochs[0].touches = {{.page = 0, .count = std::uint64_t{1} << 32}};
    EXPECT_EQ(hot_set(trace, 1000).size(), 1000U);
    EXPECT_EQ(hot_set(trace).size(), max_hot_pages);
}

TEST(PageIntervals, CountsEachPageOnce) {
    std::mt19937 random(11);
    for (int round = 0; round < 200; ++round) {
        PageIntervals intervals;
        std::set<std::uint64_t> pages;
        for (int i = 0; i < 20; ++i) {
            const std::uint64_t first = random() % 50;
            const std::uint64_t end = first + random() % 8;
            std::uint64_t fresh = 0;
            for (std::uint64_t page = first; page < end; ++page)
                fresh += pages.insert(page).second ? 1 : 0;
            ASSERT_EQ(intervals.add(first, end), fresh);
        }
    }
}

}  // namespace
}  // namespace gc::trace

// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/hot_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace gc::trace

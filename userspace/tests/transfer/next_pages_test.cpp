// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/next_pages.h"
#include "util/poll.h"

#include <array>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <vector>

namespace gc::transfer {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t block_pages = 1024;

class Next : public testing::Test {
  protected:
    void SetUp() override { use_granule(1); }

    void use_granule(std::uint64_t pages) {
        ledger.emplace(std::vector<ledger::Ledger::Block>{{"a", block_pages, pages},
                                                          {"b", block_pages, pages}});
        ledger->seal();
    }

    void deliver(std::uint64_t page) {
        ASSERT_TRUE(ledger->claim(0, page, ledger::PageClass::urgent));
    }

    /// The pages that a section with this room would take, all in block 0.
    std::vector<std::uint64_t> take(NextPages& next, std::size_t room = 16) {
        std::vector<PageRef> into(room);
        into.resize(next.take(*ledger, into));
        std::vector<std::uint64_t> pages;
        for (const PageRef& page : into) {
            EXPECT_EQ(page.block, 0U);
            pages.push_back(page.number);
        }
        return pages;
    }

    [[nodiscard]] bool woken() const {
        const bool is = wait_readable(wake.fd(), std::chrono::milliseconds(0)).value();
        wake.clear();
        return is;
    }

    Waker wake = Waker::create().value();
    std::optional<ledger::Ledger> ledger;
};

TEST_F(Next, PagesFollowARequest) {
    NextPages next(4, wake);
    EXPECT_THAT(take(next), IsEmpty());
    EXPECT_FALSE(woken());
    next.asked_before({0, 11}, *ledger);
    EXPECT_TRUE(woken());
    EXPECT_THAT(take(next), ElementsAre(11, 12, 13, 14));
    EXPECT_THAT(take(next), IsEmpty());
}

TEST_F(Next, NoneFollowWhereNoneShall) {
    NextPages next(0, wake);
    next.asked_before({0, 11}, *ledger);
    EXPECT_FALSE(woken());
    EXPECT_THAT(take(next), IsEmpty());
}

TEST_F(Next, TheBlockEnds) {
    NextPages next(4, wake);
    next.asked_before({0, block_pages - 2}, *ledger);
    next.asked_before({0, block_pages}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(block_pages - 2, block_pages - 1));
}

TEST_F(Next, WhatIsDeliveredIsLeftOut) {
    NextPages next(4, wake);
    deliver(12);
    next.asked_before({0, 11}, *ledger);
    deliver(14);
    EXPECT_THAT(take(next), ElementsAre(11, 13));
}

TEST_F(Next, TheNewestRequestIsFirst) {
    NextPages next(2, wake);
    next.asked_before({0, 11}, *ledger);
    next.asked_before({0, 31}, *ledger);
    next.asked_before({0, 21}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(21, 22));
    EXPECT_THAT(take(next), ElementsAre(31, 32));
    EXPECT_THAT(take(next), ElementsAre(11, 12));
}

TEST_F(Next, ASectionTakesAPart) {
    NextPages next(5, wake);
    next.asked_before({0, 11}, *ledger);
    EXPECT_THAT(take(next, 2), ElementsAre(11, 12));
    // A newer request goes before the rest.
    next.asked_before({0, 41}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(41, 42, 43, 44, 45));
    EXPECT_THAT(take(next), ElementsAre(13, 14, 15));
}

TEST_F(Next, AWalkerQueuesNothingTwice) {
    NextPages next(4, wake);
    next.asked_before({0, 11}, *ledger);
    next.asked_before({0, 12}, *ledger);
    next.asked_before({0, 14}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(14, 15, 16, 17));
    EXPECT_THAT(take(next), ElementsAre(12, 13));
    EXPECT_THAT(take(next), ElementsAre(11));
    EXPECT_THAT(take(next), IsEmpty());
}

TEST_F(Next, AWalkerBackwardsQueuesNothingTwice) {
    NextPages next(4, wake);
    next.asked_before({0, 14}, *ledger);
    next.asked_before({0, 13}, *ledger);
    next.asked_before({0, 13}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(13, 14, 15, 16));
    EXPECT_THAT(take(next), ElementsAre(17));
    EXPECT_THAT(take(next), IsEmpty());
}

TEST_F(Next, AWalkerGetsTwiceAsMuchEachTime) {
    NextPages next(2, wake);
    next.asked_before({0, 11}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(11, 12));
    next.asked_before({0, 14}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(14, 15, 16, 17));
    next.asked_before({0, 19}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(19, 20, 21, 22, 23, 24, 25, 26));
    // A request elsewhere starts from the beginning.
    next.asked_before({0, 101}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(101, 102));
}

TEST_F(Next, WalkersDoNotDisturbEachOther) {
    NextPages next(2, wake);
    next.asked_before({0, 11}, *ledger);
    next.asked_before({0, 501}, *ledger);
    next.asked_before({0, 14}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(14, 15, 16, 17));
    next.asked_before({0, 504}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(504, 505, 506, 507));
}

TEST_F(Next, AWalkerThatIsFasterThanTheLinkGetsNoMore) {
    NextPages next(4, wake);
    next.asked_before({0, 11}, *ledger);
    next.asked_before({0, 13}, *ledger);
    EXPECT_THAT(take(next), ElementsAre(13, 14, 15, 16));
}

TEST_F(Next, AWalkersShareHasAnEnd) {
    NextPages next(1, wake);
    std::uint64_t at = 11, most = 0;
    for (int i = 0; i < 10; ++i) {
        next.asked_before({0, at}, *ledger);
        const std::uint64_t got = take(next, block_pages).size();
        most = std::max(most, got);
        at += got + 1;
    }
    EXPECT_EQ(most, NextPages::max_growth);
}

TEST_F(Next, ARequestWithinAWalkersShareIsFirstAndTheRestStays) {
    NextPages next(2, wake);
    for (const std::uint64_t at : {11, 14, 19})  // now 8 follow
        next.asked_before({0, at}, *ledger);
    next.asked_before({0, 16}, *ledger);
    EXPECT_THAT(take(next, 2), ElementsAre(16, 17));
    EXPECT_THAT(take(next), ElementsAre(19, 20, 21, 22, 23, 24, 25, 26));
    EXPECT_THAT(take(next), ElementsAre(14, 15));
}

TEST_F(Next, BlocksAreApart) {
    NextPages next(1, wake);
    next.asked_before({0, 11}, *ledger);
    next.asked_before({1, 11}, *ledger);
    std::array<PageRef, 4> into;
    ASSERT_EQ(next.take(*ledger, into), 1U);
    EXPECT_EQ(into[0], (PageRef{1, 11}));
    EXPECT_THAT(take(next), ElementsAre(11));
}

TEST_F(Next, TheOldestRequestsAreForgotten) {
    NextPages next(1, wake);
    for (std::uint64_t i = 0; i <= NextPages::max_ranges; ++i)
        next.asked_before({0, 10 + 10 * i}, *ledger);
    for (std::uint64_t i = NextPages::max_ranges; i > 0; --i)
        EXPECT_THAT(take(next), ElementsAre(10 + 10 * i));
    EXPECT_THAT(take(next), IsEmpty());
}

TEST_F(Next, HugePagesFollowWhole) {
    use_granule(8);
    NextPages few(1, wake), more(9, wake);
    few.asked_before({0, 16}, *ledger);
    EXPECT_THAT(take(few), ElementsAre(16)) << "at least one";
    more.asked_before({0, 16}, *ledger);
    EXPECT_THAT(take(more), ElementsAre(16, 24)) << "rounded up";
    more.asked_before({0, 17}, *ledger);
    EXPECT_THAT(take(more, 4), ElementsAre(24)) << "it is larger than the section";
    deliver(35);
    EXPECT_THAT(take(more, 4), IsEmpty()) << "sent with the rest of its huge page";
}

}  // namespace
}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "ledger/ledger.h"

#include <array>
#include <atomic>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>

namespace gc::ledger {
namespace {

using testing::HasSubstr;

/// Two blocks, neither a whole number of words long.
Ledger small() {
    return Ledger({{"pc.ram", 200}, {"rom", 3}});
}

void expect_refused(const Result<void>& result, std::string_view says) {
    ASSERT_FALSE(result);
    EXPECT_THAT(result.error().message, HasSubstr(says));
    EXPECT_EQ(result.error().kind, ErrorKind::protocol);
}

std::uint64_t delivered(const Ledger& ledger) {
    return ledger.delivered(PageClass::precopy) + ledger.delivered(PageClass::urgent) +
           ledger.delivered(PageClass::guide) + ledger.delivered(PageClass::background);
}

TEST(Ledger, KeepsHowEachPageWasDelivered) {
    Ledger ledger({{"pc.ram", 200}, {"huge", 8, 4}});
    EXPECT_FALSE(ledger.delivery(0, 1)) << "before it was told to";
    ledger.keep_deliveries();
    ASSERT_TRUE(ledger.deliver_precopy(0, 1));
    ASSERT_TRUE(ledger.deliver_precopy(0, 2));
    ASSERT_TRUE(ledger.discard(0, 2, 1));
    EXPECT_FALSE(ledger.delivery(0, 2)) << "it was forgotten";
    ledger.seal();
    ASSERT_TRUE(ledger.claim(0, 2, PageClass::urgent));
    ledger.sent_as_zero(0, 2);
    EXPECT_FALSE(ledger.claim(0, 2, PageClass::guide));
    ASSERT_TRUE(ledger.claim(1, 6, PageClass::guide));
    EXPECT_EQ(ledger.delivery(0, 1), (Delivery{PageClass::precopy, false}));
    EXPECT_EQ(ledger.delivery(0, 2), (Delivery{PageClass::urgent, true}));
    EXPECT_FALSE(ledger.delivery(1, 3));
    for (std::uint64_t page = 4; page < 8; ++page)
        EXPECT_EQ(ledger.delivery(1, page), (Delivery{PageClass::guide, false})) << page;
    EXPECT_FALSE(ledger.delivery(1, 8));
    EXPECT_FALSE(ledger.delivery(2, 0));
}

TEST(Ledger, BeginsEmpty) {
    const Ledger ledger = small();
    EXPECT_EQ(ledger.total(), 203U);
    EXPECT_EQ(ledger.missing(), 203U);
    EXPECT_EQ(ledger.missing(1), 3U);
    EXPECT_EQ(ledger.find("rom"), 1U);
    EXPECT_EQ(ledger.find("vga.vram"), Ledger::no_block);
    EXPECT_FALSE(ledger.has(0, 0));
    EXPECT_FALSE(ledger.full());
}

TEST(Ledger, ClaimsEachPageOnce) {
    Ledger ledger = small();
    ledger.seal();
    EXPECT_TRUE(ledger.claim(0, 199, PageClass::urgent));
    EXPECT_FALSE(ledger.claim(0, 199, PageClass::guide));
    EXPECT_TRUE(ledger.has(0, 199));
    EXPECT_EQ(ledger.delivered(PageClass::urgent), 1U);
    EXPECT_EQ(ledger.delivered(PageClass::guide), 0U);
    EXPECT_EQ(ledger.missing(), 202U);
}

TEST(Ledger, ClaimsNothingBeforeTheSeal) {
    Ledger ledger = small();
    EXPECT_FALSE(ledger.claim(0, 0, PageClass::guide));
    EXPECT_EQ(ledger.missing(), 203U);
}

TEST(Ledger, ClaimsNoPageThatThereIsNot) {
    Ledger ledger = small();
    ledger.seal();
    EXPECT_FALSE(ledger.claim(0, 200, PageClass::urgent));
    EXPECT_FALSE(ledger.claim(1, 63, PageClass::urgent));
    EXPECT_FALSE(ledger.claim(2, 0, PageClass::urgent));
    EXPECT_FALSE(ledger.claim(Ledger::no_block, 0, PageClass::urgent));
    EXPECT_FALSE(ledger.has(0, 200));
    EXPECT_EQ(ledger.missing(), 203U);
}

TEST(Ledger, ClaimsZerosThatAreMissing) {
    Ledger ledger = small();
    ledger.keep_deliveries();
    ASSERT_TRUE(ledger.deliver_precopy(0, 70, 2));
    EXPECT_TRUE(ledger.claim_zeros(0, {0, 200}, PageClass::background, 99).empty())
        << "before the seal";
    ledger.seal();
    ASSERT_TRUE(ledger.claim(0, 100, PageClass::urgent));
    EXPECT_EQ(ledger.claim_zeros(0, {10, 130}, PageClass::background, 99),
              (std::vector<PageRun>{{10, 60}, {72, 28}, {101, 39}}));
    EXPECT_EQ(ledger.delivered(PageClass::background), 127U);
    EXPECT_EQ(ledger.missing(0), 200U - 130);
    EXPECT_FALSE(ledger.claim(0, 139, PageClass::urgent));
    EXPECT_TRUE(ledger.claim(0, 140, PageClass::urgent));
    EXPECT_EQ(ledger.delivery(0, 64), (Delivery{PageClass::background, true}));
    EXPECT_EQ(ledger.delivery(0, 100), (Delivery{PageClass::urgent, false}));
    EXPECT_EQ(ledger.claim_zeros(0, {0, UINT64_MAX}, PageClass::background, 99),
              (std::vector<PageRun>{{0, 10}, {141, 59}}))
        << "up to the block's end";
    EXPECT_TRUE(ledger.claim_zeros(0, {200, 1}, PageClass::background, 99).empty());
    EXPECT_EQ(ledger.missing(0), 0U);
}

TEST(Ledger, ClaimsZerosUpToALimitOfRuns) {
    Ledger ledger({{"pc.ram", 1000}});
    for (std::uint64_t page = 0; page < 1000; page += 2)
        ASSERT_TRUE(ledger.deliver_precopy(0, page));
    ledger.seal();
    EXPECT_EQ(ledger.claim_zeros(0, {0, 1000}, PageClass::background, 40).size(), 64U)
        << "whole words of the bitmap";
    EXPECT_EQ(ledger.missing(), 500U - 64);
}

TEST(Ledger, ClaimsNoZerosOfHugePages) {
    Ledger ledger({{"pc.ram", 1024, 512}});
    ledger.seal();
    EXPECT_TRUE(ledger.claim_zeros(0, {0, 1024}, PageClass::background, 99).empty());
    EXPECT_EQ(ledger.missing(), 1024U);
}

TEST(Ledger, CountsARepeatedPrecopyOnce) {
    Ledger ledger = small();
    EXPECT_TRUE(ledger.deliver_precopy(0, 7));
    EXPECT_TRUE(ledger.deliver_precopy(0, 7));
    EXPECT_EQ(ledger.delivered(PageClass::precopy), 1U);
    EXPECT_EQ(ledger.missing(0), 199U);
}

TEST(Ledger, CountsARunOfPrecopyByItsPages) {
    Ledger ledger({{"pc.ram", 200}, {"rom", 3}});
    ledger.keep_deliveries();
    for (const auto& [first, count] : {std::pair(0, 1), {60, 10}, {63, 66}, {127, 73}, {5, 0}})
        EXPECT_TRUE(ledger.deliver_precopy(0, first, count));
    EXPECT_EQ(ledger.delivered(PageClass::precopy), 141U) << "page 0, and those from 60 on";
    EXPECT_EQ(ledger.missing(0), 59U);
    EXPECT_EQ(ledger.missing(), 62U);
    EXPECT_TRUE(ledger.has(0, 199));
    EXPECT_EQ(ledger.next_missing(0, 0), 1U);
    EXPECT_EQ(ledger.next_missing(0, 59), 59U);
    EXPECT_EQ(ledger.next_missing(0, 60), 200U);
    EXPECT_EQ(ledger.delivery(0, 130), Delivery{});
    expect_refused(ledger.deliver_precopy(0, 199, 2), "2 pages at page 199 of 'pc.ram'");
}

TEST(Ledger, ForgetsWhatIsDiscarded) {
    Ledger ledger = small();
    for (std::uint64_t page = 0; page < 200; ++page)
        ASSERT_TRUE(ledger.deliver_precopy(0, page));
    ASSERT_TRUE(ledger.discard(0, 60, 10));
    ASSERT_TRUE(ledger.discard(0, 65, 10));  // half of it is forgotten already
    EXPECT_EQ(ledger.delivered(PageClass::precopy), 185U);
    EXPECT_EQ(ledger.missing(0), 15U);
    EXPECT_TRUE(ledger.has(0, 59));
    EXPECT_FALSE(ledger.has(0, 60));
    EXPECT_FALSE(ledger.has(0, 74));
    EXPECT_TRUE(ledger.has(0, 75));

    ASSERT_TRUE(ledger.deliver_precopy(0, 62));
    ledger.seal();
    EXPECT_FALSE(ledger.claim(0, 62, PageClass::background));
    EXPECT_TRUE(ledger.claim(0, 63, PageClass::background));
}

TEST(Ledger, DiscardsAnyRange) {
    for (std::uint64_t first = 0; first <= 200; ++first) {
        for (const std::uint64_t count : {0U, 1U, 63U, 64U, 65U, 128U, 200U}) {
            if (count > 200 - first)
                continue;
            Ledger ledger = small();
            for (std::uint64_t page = 0; page < 200; ++page)
                ASSERT_TRUE(ledger.deliver_precopy(0, page));
            ASSERT_TRUE(ledger.discard(0, first, count));
            ASSERT_EQ(ledger.missing(0), count);
            for (std::uint64_t page = 0; page < 200; ++page)
                ASSERT_EQ(ledger.has(0, page), page < first || page >= first + count) << page;
        }
    }
}

TEST(Ledger, RefusesADiscardAfterTheSeal) {
    Ledger ledger = small();
    ledger.seal();
    expect_refused(ledger.discard(1, 2, 1), "a discard of page 2 of 'rom' after switch-over");
}

TEST(Ledger, RefusesPrecopyAfterTheSeal) {
    Ledger ledger = small();
    ledger.seal();
    expect_refused(ledger.deliver_precopy(0, 2),
                   "pre-copy of page 2 of 'pc.ram' after switch-over");
}

TEST(Ledger, RefusesPagesThatThereAreNot) {
    Ledger ledger = small();
    expect_refused(ledger.deliver_precopy(1, 3), "1 pages at page 3 of 'rom', which has 3 pages");
    expect_refused(ledger.discard(0, 199, 2), "2 pages at page 199 of 'pc.ram', which has 200");
    expect_refused(ledger.discard(0, 1, UINT64_MAX), "pc.ram");
    expect_refused(ledger.discard(0, UINT64_MAX, 1), "pc.ram");
}

TEST(Ledger, RefusesBlocksThatThereAreNot) {
    Ledger ledger = small();
    expect_refused(ledger.deliver_precopy(ledger.find("x"), 0), "did not announce");
    expect_refused(ledger.discard(2, 0, 1), "did not announce");
}

TEST(Ledger, MayOnlyEndWhenFull) {
    Ledger ledger = small();
    expect_refused(ledger.check_eof(),
                   "203 of 203 pages are not delivered, the first is page 0 of 'pc.ram'");
    for (std::uint64_t page = 0; page < 200; ++page)
        ASSERT_TRUE(ledger.deliver_precopy(0, page));
    ASSERT_TRUE(ledger.deliver_precopy(1, 0));
    ledger.seal();
    expect_refused(ledger.check_eof(),
                   "2 of 203 pages are not delivered, the first is page 1 of 'rom'");
    EXPECT_TRUE(ledger.claim(1, 1, PageClass::guide));
    EXPECT_FALSE(ledger.full());
    EXPECT_TRUE(ledger.claim(1, 2, PageClass::background));
    EXPECT_TRUE(ledger.full());
    EXPECT_TRUE(ledger.check_eof());
    EXPECT_EQ(delivered(ledger), ledger.total());
}

TEST(Ledger, MayNotEndBeforeSwitchOver) {
    Ledger ledger({{"rom", 1}});
    ASSERT_TRUE(ledger.deliver_precopy(0, 0));
    EXPECT_FALSE(ledger.full());
    expect_refused(ledger.check_eof(), "before switch-over");
}

TEST(Ledger, FindsWhatIsMissing) {
    Ledger ledger = small();
    ledger.seal();
    for (std::uint64_t page = 0; page < 200; ++page)
        if (page != 5 && page != 64 && page != 65 && page != 199) {
            ASSERT_TRUE(ledger.claim(0, page, PageClass::background));
        }
    EXPECT_EQ(ledger.next_missing(0, 0), 5U);
    EXPECT_EQ(ledger.next_missing(0, 5), 5U);
    EXPECT_EQ(ledger.next_missing(0, 6), 64U);
    EXPECT_EQ(ledger.next_missing(0, 66), 199U);
    ASSERT_TRUE(ledger.claim(0, 199, PageClass::background));
    EXPECT_EQ(ledger.next_missing(0, 66), 200U) << "the bits behind the last page are none";
    EXPECT_EQ(ledger.next_missing(0, 1000), 200U);
    EXPECT_EQ(ledger.next_missing(1, 0), 0U);
}

TEST(Ledger, OfNoPagesIsFullAtOnce) {
    Ledger ledger({});
    ledger.seal();
    EXPECT_TRUE(ledger.check_eof());
}

TEST(Ledger, GivesEachPageToOneOfManyThreads) {
    constexpr std::uint64_t pages = 100'003;
    constexpr std::array<PageClass, 4> classes{PageClass::urgent, PageClass::guide,
                                               PageClass::background, PageClass::background};
    Ledger ledger({{"pc.ram", pages}});
    for (std::uint64_t page = 0; page < pages; page += 3)
        ASSERT_TRUE(ledger.deliver_precopy(0, page));
    ledger.seal();

    std::vector<std::atomic<int>> owners(pages);
    std::atomic<int> ready = 0;
    std::atomic<std::uint64_t> claimed = 0;
    std::vector<std::thread> threads;
    for (std::size_t me = 0; me < classes.size(); ++me)
        threads.emplace_back([&, me] {
            // Together, and each in another order, so that they meet.
            for (++ready; ready < static_cast<int>(classes.size());)
                std::this_thread::yield();
            for (std::uint64_t i = 0; i < pages; ++i) {
                const std::uint64_t page = me % 2 ? i : pages - 1 - i;
                if (ledger.claim(0, page, classes[me])) {
                    ++owners[page];
                    ++claimed;
                }
            }
        });
    for (std::thread& thread : threads)
        thread.join();

    for (std::uint64_t page = 0; page < pages; ++page)
        ASSERT_EQ(owners[page], page % 3 ? 1 : 0) << page;
    EXPECT_TRUE(ledger.check_eof());
    EXPECT_EQ(delivered(ledger), pages);
    EXPECT_EQ(ledger.delivered(PageClass::precopy), (pages + 2) / 3);
    EXPECT_EQ(claimed, pages - (pages + 2) / 3);
}

TEST(LedgerGranules, AreClaimedWholeAndByOne) {
    Ledger ledger({{"m", 64, 16}, {"rom", 4}});
    ledger.seal();
    EXPECT_TRUE(ledger.claim(0, 37, PageClass::urgent));
    EXPECT_FALSE(ledger.claim(0, 32, PageClass::guide));
    EXPECT_FALSE(ledger.claim(0, 47, PageClass::guide));
    EXPECT_EQ(ledger.delivered(PageClass::urgent), 16U);
    EXPECT_EQ(ledger.next_missing(0, 32), 48U);
    EXPECT_TRUE(ledger.claim(1, 2, PageClass::background));
    EXPECT_EQ(ledger.missing(1), 3U);
    for (const std::uint64_t page : {0U, 16U, 48U})
        EXPECT_TRUE(ledger.claim(0, page, PageClass::background));
    EXPECT_EQ(ledger.missing(0), 0U);
}

TEST(LedgerGranules, MustNotBeHalfDelivered) {
    Ledger ledger({{"m", 32, 16}});
    for (std::uint64_t page = 0; page < 16; ++page)
        ASSERT_TRUE(ledger.deliver_precopy(0, page));
    EXPECT_TRUE(ledger.check_granules());
    ASSERT_TRUE(ledger.deliver_precopy(0, 20));
    const auto half = ledger.check_granules();
    ASSERT_FALSE(half);
    EXPECT_EQ(half.error().kind, ErrorKind::protocol);
    EXPECT_NE(half.error().message.find("page 16 of 'm'"), std::string::npos);
    ASSERT_TRUE(ledger.discard(0, 16, 16));
    EXPECT_TRUE(ledger.check_granules());
}

}  // namespace
}  // namespace gc::ledger

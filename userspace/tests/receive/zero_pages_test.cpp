// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/zero_pages.h"

#include "peer/zero_runs.h"

#include <gmock/gmock.h>

namespace gc::receive {
namespace {

using ledger::PageRun;
using testing::HasSubstr;
using Taken = ZeroPages::Run;

ZeroPages pages() {
    return ZeroPages({{.name = "pc.ram", .pages = 1000},
                      {.name = "rom", .pages = 8},
                      {.name = "huge", .pages = 1024, .small = false}});
}

void expect_refused(ZeroPages& zeros, std::string_view block, PageRun run, const char* why) {
    const auto added = zeros.add(block, std::span(&run, 1));
    ASSERT_FALSE(added) << why;
    EXPECT_EQ(added.error().kind, ErrorKind::protocol);
    EXPECT_THAT(added.error().message, HasSubstr(why));
}

TEST(ZeroPages, EachPageIsTakenOnce) {
    ZeroPages zeros = pages();
    ASSERT_TRUE(zeros.add("pc.ram", std::array{PageRun{10, 4}, PageRun{20, 1}}));
    EXPECT_EQ(zeros.left(), 5U);
    EXPECT_TRUE(zeros.take({0, 12}));
    EXPECT_FALSE(zeros.take({0, 12}));
    EXPECT_FALSE(zeros.take({0, 9}));
    EXPECT_FALSE(zeros.take({0, 14}));
    EXPECT_FALSE(zeros.take({1, 10})) << "of another block";
    EXPECT_TRUE(zeros.told({0, 12})) << "also when it is taken";
    EXPECT_FALSE(zeros.told({0, 14}));
    EXPECT_EQ(zeros.take_next(99), (Taken{0, {13, 1}})) << "what follows the page taken last";
    EXPECT_EQ(zeros.take_next(99), (Taken{0, {20, 1}}));
    EXPECT_EQ(zeros.take_next(99), (Taken{0, {10, 2}})) << "from the beginning";
    EXPECT_EQ(zeros.take_next(99), std::nullopt);
    EXPECT_EQ(zeros.left(), 0U);
    EXPECT_FALSE(zeros.take({0, 10}));
}

TEST(ZeroPages, AreTakenInPortionsFromAllBlocks) {
    ZeroPages zeros = pages();
    ASSERT_TRUE(zeros.add("rom", std::array{PageRun{0, 5}}));
    EXPECT_EQ(zeros.take_next(3), (Taken{1, {0, 3}}));
    EXPECT_EQ(zeros.take_next(0), std::nullopt);
    ASSERT_TRUE(zeros.add("pc.ram", std::array{PageRun{999, 1}}));
    EXPECT_EQ(zeros.take_next(3), (Taken{1, {3, 2}}));
    EXPECT_EQ(zeros.take_next(3), (Taken{0, {999, 1}}));
    EXPECT_EQ(zeros.take_next(3), std::nullopt);
}

TEST(ZeroPages, WhatTheVmDoesNotHaveIsRefused) {
    ZeroPages zeros = pages();
    expect_refused(zeros, "pc.rom", {0, 1}, "'pc.rom' are zeros, which this VM does not have");
    expect_refused(zeros, "pc.ram", {1000, 1}, "which has 1000 pages");
    expect_refused(zeros, "pc.ram", {999, 2}, "which has 1000 pages");
    expect_refused(zeros, "pc.ram", {2, UINT64_MAX}, "which has 1000 pages");
    expect_refused(zeros, "pc.ram", {2, 0}, "0 pages");
    expect_refused(zeros, "huge", {0, 512}, "host pages have more than 4 KiB");
    EXPECT_EQ(zeros.left(), 0U);
}

TEST(ZeroPages, NothingIsToldTwice) {
    ZeroPages zeros = pages();
    ASSERT_TRUE(zeros.add("pc.ram", std::array{PageRun{10, 10}, PageRun{20, 10}}));
    for (const PageRun again : {PageRun{10, 10}, PageRun{9, 2}, PageRun{19, 1}, PageRun{29, 5},
                                PageRun{5, 100}, PageRun{12, 1}})
        expect_refused(zeros, "pc.ram", again, "of which it said so before");
    EXPECT_TRUE(zeros.take({0, 15}));
    expect_refused(zeros, "pc.ram", {15, 1}, "of which it said so before");
    EXPECT_TRUE(zeros.add("pc.ram", std::array{PageRun{9, 1}, PageRun{30, 1}}));
    EXPECT_TRUE(zeros.add("rom", std::array{PageRun{5, 1}}));
}

TEST(ZeroPages, RunsAreLimited) {
    ZeroPages zeros({{.name = "m", .pages = std::uint64_t{1} << 30}});
    std::vector<PageRun> runs;
    for (std::uint64_t i = 0; i < peer::max_zero_runs; ++i)
        runs.push_back({2 * i, 1});
    ASSERT_TRUE(zeros.add("m", runs));
    expect_refused(zeros, "m", {1, 1}, "after 65536 other runs");
}

}  // namespace
}  // namespace gc::receive

// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gc::simulate {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

/// Two vCPUs, two epochs, 100 pages.
trace::Trace sample() {
    trace::Trace made{.header = {trace::Mode::order, 1000, {{"ram", 100UL * 4096, 4096}}},
                      .epochs = {}};
    made.epochs.push_back({.begin_us = 0, .length_us = 1000, .touches = {}});
    made.epochs.back().touches = {{.page = 10, .time_us = 5, .vcpu = 0},
                                  {.page = 20, .count = 2, .time_us = 7, .vcpu = 1}};
    made.epochs.push_back({.begin_us = 1000, .length_us = 500, .touches = {}});
    made.epochs.back().touches = {{.page = 10, .time_us = 1, .vcpu = 1},
                                  {.page = 5, .time_us = 2, .vcpu = 0}};
    return made;
}

void expect_refused(const trace::Trace& trace, const Replay& replay, std::string_view says) {
    const auto made = make_workload(trace, replay);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().kind, ErrorKind::usage);
    EXPECT_THAT(made.error().message, HasSubstr(says));
}

TEST(Workload, HasEachPageOnceByWhoTouchedItFirst) {
    const auto made = make_workload(sample(), {});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_THAT(made->pages, ElementsAre(5, 10, 20, 21));
    ASSERT_EQ(made->vcpus.size(), 2U);
    EXPECT_THAT(made->vcpus[0], ElementsAre(Touch{1, 5us}, Touch{0, 1002us}));
    EXPECT_THAT(made->vcpus[1], ElementsAre(Touch{2, 7us}, Touch{3, 7us}));
    EXPECT_EQ(made->memory, 100U);
    EXPECT_EQ(made->span, 1500us);
}

TEST(Workload, BeginsAtAMoment) {
    const auto made = make_workload(sample(), {.at = 1ms});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_THAT(made->pages, ElementsAre(5, 10));
    ASSERT_EQ(made->vcpus.size(), 2U);
    EXPECT_THAT(made->vcpus[0], ElementsAre(Touch{1, 1us}));
    EXPECT_THAT(made->vcpus[1], ElementsAre(Touch{0, 2us}));
}

TEST(Workload, IsStretchedOverMoreMemory) {
    const auto made = make_workload(sample(), {.memory = 1000UL * 4096});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_THAT(made->pages, ElementsAre(50, 100, 200, 210));
    EXPECT_EQ(made->memory, 1000U);
}

TEST(Workload, IsFasterThanItWas) {
    const auto made = make_workload(sample(), {.at = 1ms, .speed = 2});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_THAT(made->vcpus[1], ElementsAre(Touch{0, 1us}));
    EXPECT_EQ(made->span, 250us);
}

TEST(Workload, RunsSeveralTimesSideBySide) {
    const auto made = make_workload(sample(), {.load = 2});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_THAT(made->pages, ElementsAre(10, 11, 20, 21, 40, 41, 42, 43));
    ASSERT_EQ(made->vcpus.size(), 4U);
    EXPECT_THAT(made->vcpus[0], ElementsAre(Touch{2, 5us}, Touch{0, 1002us}));
    EXPECT_THAT(made->vcpus[2], ElementsAre(Touch{3, 5us}, Touch{1, 1002us}));
    EXPECT_EQ(made->memory, 200U);
}

TEST(Workload, HasZerosEvenlyAmongWhatIsNotTouched) {
    auto made = make_workload(sample(), {.zeros = 0.5});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->untouched(), 96U);
    EXPECT_EQ(made->data_before(0), 3U) << "of the five pages 0 to 4";
    EXPECT_EQ(made->data_before(made->pages.size()), 48U);
    made->zeros = 1;
    EXPECT_EQ(made->data_before(made->pages.size()), 0U);
}

TEST(Workload, OfATraceWithoutOrder) {
    trace::Trace trace = sample();
    trace.header.mode = trace::Mode::age;
    expect_refused(trace, {}, "record one with 'gcctl record --mode order'");
}
TEST(Workload, OfATraceOfHugePages) {
    trace::Trace trace = sample();
    trace.epochs[1].touches[0].order = 9;
    expect_refused(trace, {}, "transparent huge pages off");
}
TEST(Workload, InTooLittleMemory) {
    expect_refused(sample(), {.memory = 100UL * 4096, .load = 2},
                   "--memory is too small (expected at least");
}
TEST(Workload, AfterTheTracesEnd) {
    expect_refused(sample(), {.at = 2ms}, "no touch at or after 0.002 s; it is 0.002 s long");
}
TEST(Workload, OfATraceWithoutTouches) {
    trace::Trace trace = sample();
    trace.epochs.clear();
    expect_refused(trace, {}, "no touch");
}

/// A run of three bytes must not become gigabytes.
TEST(Workload, RefusesMoreTouchesThanARecordingCanHave) {
    trace::Trace made = sample();
    made.header.blocks = {{"ram", std::uint64_t{1} << 44, 4096}};
    made.epochs[0].touches = {{.page = 0, .count = std::uint64_t{1} << 32}};
    expect_refused(made, {}, "a touch of 4294967296 pages at once");
    made.epochs[0].touches.clear();
    for (std::uint64_t i = 0; i < 8; ++i)
        made.epochs[0].touches.push_back({.page = i << 20, .count = 1 << 18});
    expect_refused(made, {}, "touches of more than");
}

}  // namespace
}  // namespace gc::simulate

// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/simulation.h"

#include <gtest/gtest.h>

namespace gc::simulate {
namespace {

using namespace std::chrono_literals;
using std::chrono::hours;

constexpr std::uint64_t package = 128UL * 1024;
constexpr Duration page_time = 4104ns;  // on the link of these tests

/// 1 GB/s, without other delays and without background.
Scenario scenario() {
    Scenario made;
    made.link = made.guide_rate = made.background_rate = 1e9;
    made.wire = 1;
    made.rtt = 100us;
    made.guide = false;
    made.hold_background = hours(1);
    made.downtime = 1ms;
    made.costs = {.fault = 10us, .serve = 5us, .install = 2us, .capture = 0ns, .load = 1ms};
    return made;
}

constexpr Duration one_stall = 50us + 5us + page_time + 50us;
constexpr Duration one_wait = 10us + one_stall + 2us;

/// A VM with `memory` pages, of which the first are touched: each list by its own vCPU.
Workload touching(std::vector<std::vector<Touch>> vcpus, std::uint64_t memory = 1000) {
    Workload made;
    made.memory = memory;
    for (const auto& touches : vcpus)
        for (std::size_t i = 0; i < touches.size(); ++i)
            made.pages.push_back(made.pages.size());
    made.vcpus = std::move(vcpus);
    return made;
}

/// Pages spread over memory, touched one after the other in a shuffled order.
Workload scattered(std::uint32_t pages, std::uint64_t memory, Duration gap, std::size_t vcpus) {
    Workload made;
    made.memory = memory;
    made.vcpus.resize(vcpus);
    for (std::uint32_t i = 0; i < pages; ++i) {
        made.pages.push_back(memory / pages * i);
        made.vcpus[i % vcpus].push_back({(i * 7 + 3) % pages, gap * i});
    }
    return made;
}

TEST(Simulation, OnePageIsAskedFor) {
    const Outcome outcome = run(touching({{{0, 1ms}}}), scenario());
    EXPECT_EQ(outcome.demand.faults, 1U);
    EXPECT_EQ(outcome.demand.stall.sum(), one_stall);
    EXPECT_EQ(outcome.waited, one_wait);
    EXPECT_EQ(outcome.pages.in[ledger::PageClass::urgent], 1U);
    EXPECT_EQ(outcome.bytes.in[ledger::PageClass::urgent], 4104 + package);
    EXPECT_EQ(outcome.downtime, 1ms);
}

TEST(Simulation, AGuideThatIsAheadLeavesNothingToAskFor) {
    Scenario with = scenario();
    with.guide = true;
    with.downtime = with.costs.load + 100us;
    const Outcome outcome = run(touching({{{0, 0ms}, {1, 0ms}}}), with);
    EXPECT_EQ(outcome.demand.faults, 0U);
    EXPECT_EQ(outcome.waited, 0ns);
    EXPECT_EQ(outcome.pages.in[ledger::PageClass::guide], 2U);
    EXPECT_EQ(outcome.guide_records, 2U);
}

TEST(Simulation, AGuideThatIsAheadByLessThanAPageTakesSavesAPartOfTheWait) {
    Scenario with = scenario();
    with.guide = true;
    with.downtime = with.costs.load + 30us;
    const Outcome outcome = run(touching({{{0, 0ms}}}), with);
    EXPECT_EQ(outcome.demand.faults, 1U);
    EXPECT_EQ(outcome.pages.in[ledger::PageClass::urgent], 0U);
    // The page with its section, half a round trip, and placing it.
    EXPECT_EQ(outcome.waited, page_time + 32ns + 50us + 2us - 30us);
}

TEST(Simulation, AGuideThatIsBehindSendsNothingTwiceAndGetsAheadWhileTheVmWaits) {
    Scenario with = scenario();
    with.guide = true;
    with.downtime = 0ms;
    with.rtt = 4ms;
    with.costs.load = 3ms;
    const Outcome outcome = run(touching({{{0, 0ms}, {1, 0ms}, {2, 0ms}}}), with);
    EXPECT_EQ(outcome.demand.faults, 2U) << "the second is in flight when it is requested";
    EXPECT_EQ(outcome.pages.in[ledger::PageClass::urgent], 1U);
    EXPECT_EQ(outcome.pages.in[ledger::PageClass::guide], 2U);
    EXPECT_EQ(outcome.guide_records, 3U);
}

TEST(Simulation, AGuideWithALeadOfOnePageWaitsForTheLink) {
    std::vector<Touch> touches;
    for (std::uint32_t i = 0; i < 200; ++i)
        touches.push_back({i, 0ms});
    Scenario with = scenario();
    with.guide = true;
    with.downtime = 100ms;
    EXPECT_EQ(run(touching({touches}), with).guide_blocked, 0ns);
    with.lead = 1;
    const Outcome outcome = run(touching({touches}), with);
    EXPECT_GT(outcome.guide_blocked, 0ns);
    EXPECT_EQ(outcome.pages.in[ledger::PageClass::guide], 200U) << "nothing is lost";
    EXPECT_EQ(outcome.demand.faults, 0U);
}

TEST(Simulation, TheBackgroundComesFirst) {
    Scenario with = scenario();
    with.hold_background = 0ms;
    const Outcome outcome = run(touching({{{0, 100ms}, {1, 200ms}}}), with);
    EXPECT_EQ(outcome.demand.faults, 0U);
    EXPECT_EQ(outcome.pages.in[ledger::PageClass::background], 1000U);
    EXPECT_EQ(outcome.pages.total, 1000U);
}

TEST(Simulation, AStalledVcpuDelaysOnlyItsOwnTouches) {
    const Outcome outcome = run(touching({{{0, 0us}, {1, 1us}}, {{2, 1us}}}), scenario());
    EXPECT_EQ(outcome.demand.faults, 3U);
    // The other vCPU's request comes 1 us after the first and waits for the rest of that page.
    EXPECT_EQ(outcome.waited, 3 * one_wait + page_time - 1us);
}

TEST(Simulation, APageOnItsWayIsWaitedForAndNotSentAgain) {
    Scenario with = scenario();
    with.hold_background = 0ms;
    const Outcome outcome = run(touching({{{0, 20us}}}), with);
    EXPECT_EQ(outcome.demand.faults, 1U);
    EXPECT_EQ(outcome.pages.in[ledger::PageClass::urgent], 0U);
    EXPECT_EQ(outcome.pages.in[ledger::PageClass::background], 1000U);
    EXPECT_LT(outcome.demand.stall.sum(), one_stall);
}

TEST(Simulation, WhatIsAskedForOvertakesTheBackgroundOnlyByClass) {
    const Workload workload = scattered(20, 100'000, 1ms, 1);
    Scenario with = scenario();
    with.hold_background = 0ms;
    // The link is slower than the destination, so frames queue in front of the link.
    with.link = with.guide_rate = with.background_rate = 1e8;
    const Outcome first = run(workload, with);
    with.by_class = false;
    const Outcome in_line = run(workload, with);
    EXPECT_EQ(first.pages.total, in_line.pages.total);
    EXPECT_LT(2 * first.demand.stall.sum(), in_line.demand.stall.sum());
}

TEST(Simulation, ALinkWithABurstCarriesTheFirstPagesAtOnce) {
    Scenario with = scenario();
    with.burst = 2UL * 4104;
    with.costs.install = 0ns;
    const Outcome outcome = run(touching({{{0, 0us}}, {{1, 0us}}, {{2, 0us}}}), with);
    EXPECT_EQ(outcome.demand.stall.sum(), 3 * (one_stall - page_time) + page_time);
}

TEST(Simulation, ThePolicysRateIsKept) {
    Scenario with = scenario();
    with.hold_background = 0ms;
    with.background_rate = 1e7;
    const Outcome outcome = run(touching({{{0, 0us}}}, 10'000), with);
    const double wanted = 10'000 * 4104 / 1e7;
    EXPECT_NEAR(std::chrono::duration<double>(outcome.total).count(), wanted, 0.02 * wanted);
}

TEST(Simulation, TheBandwidthIsKeptButForUrgentPages) {
    Scenario with = scenario();
    with.hold_background = 0ms;
    with.bandwidth = 10'000'000;
    Workload workload = touching({{{0, 50ms}}}, 10'000);
    workload.pages = {900};
    const Outcome outcome = run(workload, with);
    EXPECT_EQ(outcome.pages.in[ledger::PageClass::urgent], 1U);
    const double wanted = 10'000 * 4104 / 1e7;
    EXPECT_NEAR(std::chrono::duration<double>(outcome.total).count(), wanted, 0.02 * wanted);
}

TEST(Simulation, TheDestinationPlacesOnePageAfterTheOther) {
    Scenario with = scenario();
    with.hold_background = 0ms;
    with.costs.install = 100us;
    const Outcome outcome = run(touching({{{0, 0us}}}, 10'000), with);
    EXPECT_NEAR(std::chrono::duration<double>(outcome.total).count(), 1, 0.02);
}

TEST(Simulation, ZerosCostNextToNothing) {
    Scenario with = scenario();
    with.hold_background = 0ms;
    Workload workload = touching({{{0, 0us}}}, 10'001);
    workload.zeros = 0.75;
    const Outcome outcome = run(workload, with);
    EXPECT_EQ(outcome.pages.zero, 7500U);
    EXPECT_EQ(outcome.pages.total, 10'001U);
    EXPECT_LT(outcome.bytes.in[ledger::PageClass::background], 2501U * 4104 + 7500U * 10);
}

/// The bytes sent of each class follow from its pages.
void expect_conserved(const Outcome& outcome, std::uint64_t pages, unsigned vms) {
    const ledger::ClassCounts& sent = outcome.pages;
    EXPECT_EQ(sent.total, pages);
    EXPECT_EQ(sent.in[ledger::PageClass::urgent] + sent.in[ledger::PageClass::guide] +
                  sent.in[ledger::PageClass::background],
              pages);
    EXPECT_EQ(outcome.bytes.total, outcome.bytes.in[ledger::PageClass::urgent] +
                                       outcome.bytes.in[ledger::PageClass::guide] +
                                       outcome.bytes.in[ledger::PageClass::background]);
    EXPECT_EQ(outcome.bytes.in[ledger::PageClass::urgent],
              sent.in[ledger::PageClass::urgent] * 4104 + vms * package);
    const std::uint64_t data = (sent.total - sent.zero) * 4104 + sent.zero * 9;
    const std::uint64_t sections = outcome.bytes.total - vms * package - data;
    EXPECT_EQ(sections % 32, 0U);
    EXPECT_GE(sections / 32,
              (sent.in[ledger::PageClass::background] + sent.in[ledger::PageClass::guide]) / 256);
    EXPECT_LE(sections / 32,
              sent.in[ledger::PageClass::background] + sent.in[ledger::PageClass::guide]);
}

TEST(Simulation, EveryPageIsSentOnce) {
    for (const bool guide : {false, true}) {
        for (const bool by_class : {false, true}) {
            Workload workload = scattered(500, 20'000, 20us, 3);
            workload.zeros = 0.3;
            Scenario with = scenario();
            with.guide = guide;
            with.by_class = by_class;
            with.hold_background = 2ms;
            with.vms = 4;
            with.stagger = 1ms;
            const Outcome outcome = run(workload, with);
            expect_conserved(outcome, 80'000, 4);
            EXPECT_LE(outcome.demand.faults, 4U * 500);
            EXPECT_EQ(outcome.demand.stall.count(), outcome.demand.faults);
        }
    }
}

TEST(Simulation, TheSameComesOutEachTime) {
    Scenario with = scenario();
    with.guide = true;
    with.hold_background = 0ms;
    with.vms = 3;
    const Workload workload = scattered(300, 5000, 50us, 2);
    const Outcome one = run(workload, with), other = run(workload, with);
    EXPECT_EQ(to_json(one.demand.report()), to_json(other.demand.report()));
    EXPECT_EQ(one.total, other.total);
    EXPECT_EQ(one.waited, other.waited);
    EXPECT_EQ(one.bytes.total, other.bytes.total);
}

TEST(Simulation, VmsShareTheLink) {
    Scenario with = scenario();
    with.hold_background = 0ms;
    with.costs.install = 0ns;
    const Workload workload = scattered(10, 100'000, 1ms, 1);
    const Outcome one = run(workload, with);
    with.vms = 5;
    with.stagger = 0ns;
    const Outcome five = run(workload, with);
    EXPECT_NEAR(static_cast<double>(five.total.count()),
                5.0 * static_cast<double>(one.total.count()),
                0.05 * static_cast<double>(five.total.count()));
}

TEST(Simulation, OfATebibyteTakesNoLonger) {
    Scenario with = scenario();
    with.hold_background = 0ms;
    const Outcome outcome = run(scattered(1000, 1 << 28, 1ms, 2), with);
    expect_conserved(outcome, 1 << 28, 1);
}

}  // namespace
}  // namespace gc::simulate

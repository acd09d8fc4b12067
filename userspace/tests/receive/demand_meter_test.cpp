// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/demand_meter.h"

#include "../stream/append.h"
#include "report/report.h"

#include <gtest/gtest.h>
#include <numeric>
#include <thread>
#include <utility>

namespace gc::receive {
namespace {

constexpr std::uint32_t huge = 2U << 20;

stream::Buffer request(std::uint64_t start, std::uint32_t length) {
    stream::Buffer bytes;
    stream::append_page_request(bytes, "m", start, length);
    return bytes;
}

/// A zero page on the urgent channel.
stream::Buffer zero_page(std::uint64_t offset) {
    stream::Buffer bytes;
    stream::append_page_head(bytes, offset, "m", true);
    return bytes;
}

/// A section as PageSender writes it.
stream::Buffer section(const std::vector<std::pair<std::uint64_t, bool>>& pages_and_zero) {
    stream::Buffer bytes;
    stream::append_section_part(bytes, 3);
    std::string_view block = "m";
    for (const auto& [offset, zero] : pages_and_zero) {
        stream::append_page_head(bytes, offset, std::exchange(block, ""), zero);
        bytes.insert(bytes.end(), zero ? 0 : stream::target_page, std::byte{0x5a});
    }
    stream::append_end_of_ram(bytes);
    stream::append_section_footer(bytes, 3);
    return bytes;
}

TEST(DemandMeter, APageIsAFaultOnce) {
    DemandMeter meter;
    meter.saw_requests(request(0x3000, 0x1000));
    meter.saw_requests(request(0x3000, 0x1000));
    meter.saw_urgent(zero_page(0x3000));
    meter.saw_requests(request(0x3000, 0x1000));
    EXPECT_EQ(meter.result().faults, 1U);
    EXPECT_EQ(meter.result().stall.count(), 1U);
    EXPECT_EQ(meter.problem(), "");
}

TEST(DemandMeter, AHugePageIsOneFaultThatEndsWithItsLastPage) {
    DemandMeter meter;
    meter.saw_requests(request(huge, huge));
    meter.saw_requests(request(huge, huge));
    EXPECT_EQ(meter.result().faults, 1U);
    for (std::uint64_t offset = huge; offset < 2 * huge - 0x1000; offset += 0x1000)
        meter.saw_urgent(zero_page(offset));
    EXPECT_EQ(meter.result().stall.count(), 0U) << "QEMU cannot place it yet";
    meter.saw_urgent(zero_page(2 * huge - 0x1000));
    EXPECT_EQ(meter.result().stall.count(), 1U);
    EXPECT_EQ(meter.problem(), "");
}

TEST(DemandMeter, TimeBeginsWithTheDeviceState) {
    DemandMeter meter;
    meter.saw_switch_over();
    std::this_thread::sleep_for(report::Timeline::step);
    meter.saw_requests(request(0x3000, 0x1000));
    EXPECT_EQ(meter.problem(), "");
    const report::Demand demand = meter.result();
    const auto& counts = demand.timeline.counts();
    ASSERT_GE(counts.size(), 2U);
    EXPECT_EQ(counts.back(), 1U);
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0U), 1U);
}

TEST(DemandMeter, PagesOnMainEndFaults) {
    DemandMeter meter;
    meter.saw_requests(request(0x3000, 0x1000));
    meter.saw_requests(request(0x5000, 0x1000));
    meter.saw_sections(section({{0x3000, true}, {0x4000, false}, {0x5000, false}}));
    EXPECT_EQ(meter.problem(), "");
    EXPECT_EQ(meter.result().stall.count(), 2U);
    EXPECT_EQ(meter.asked().size(), 2U);
    EXPECT_EQ(meter.asked().back().block, "m");
    EXPECT_EQ(meter.asked().back().offset, 0x5000U);
}

TEST(DemandMeter, WhatThisEndHasIsNoFaultOfTheSource) {
    DemandMeter meter;
    const auto is_local = [](const stream::PageRequest& asked) { return asked.start == 0x3000; };
    for (const std::uint64_t start : {0x3000, 0x3000, 0x5000})
        meter.saw_requests(request(start, 0x1000), is_local);
    meter.saw_sections(section({{0x3000, true}, {0x5000, false}}));
    EXPECT_EQ(meter.problem(), "");
    EXPECT_EQ(meter.result().local, 1U);
    EXPECT_GT(meter.result().local_stall.count(), 0);
    EXPECT_EQ(meter.result().faults, 1U);
    EXPECT_EQ(meter.result().stall.count(), 1U);
    EXPECT_EQ(meter.asked().size(), 1U);
    EXPECT_EQ(meter.result().report().local, 1U);
}

TEST(DemandMeter, AFaultOfTheSourceIsNotCountedAgain) {
    DemandMeter meter;
    bool told = false;
    const auto is_local = [&told](const stream::PageRequest&) { return told; };
    meter.saw_requests(request(0x3000, 0x1000), is_local);
    told = true;
    meter.saw_requests(request(0x3000, 0x1000), is_local);
    EXPECT_EQ(meter.result().faults, 1U);
    EXPECT_EQ(meter.result().local, 0U);
}

TEST(DemandMeter, StopsCountingAtWhatItCannotRead) {
    DemandMeter meter;
    meter.saw_requests(request(0x3000, 0x1000));
    meter.saw_sections(stream::Buffer(5));
    EXPECT_EQ(meter.problem(),
              "RAM records, before byte 5: expected the head of a section (0x02), got 0x00");
    meter.saw_urgent(zero_page(0x3000));
    EXPECT_EQ(meter.result().faults, 1U);
    EXPECT_EQ(meter.result().stall.count(), 0U);
}

TEST(DemandMeter, WhatWasNotAskedForIsNoFault) {
    DemandMeter meter;
    meter.saw_urgent(zero_page(0));
    EXPECT_EQ(meter.result().faults, 0U);
    EXPECT_EQ(meter.result().stall.count(), 0U);
}

}  // namespace
}  // namespace gc::receive

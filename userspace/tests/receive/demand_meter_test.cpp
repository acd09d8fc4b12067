// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/demand_meter.h"

#include "stream/writer.h"

#include <gtest/gtest.h>
#include <numeric>
#include <thread>

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
    stream::Buffer bytes;
    stream::append_header(bytes);
    stream::append_package(bytes, {});
    meter.saw_main(bytes);
    std::this_thread::sleep_for(report::Timeline::step);
    meter.saw_requests(request(0x3000, 0x1000));
    EXPECT_EQ(meter.problem(), "");
    const report::Demand demand = meter.result();
    const auto& counts = demand.timeline.counts();
    ASSERT_GE(counts.size(), 2U);
    EXPECT_EQ(counts.back(), 1U);
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0U), 1U);
}

TEST(DemandMeter, WhatWasNotAskedForIsNoFault) {
    DemandMeter meter;
    meter.saw_urgent(zero_page(0));
    EXPECT_EQ(meter.result().faults, 0U);
    EXPECT_EQ(meter.result().stall.count(), 0U);
}

}  // namespace
}  // namespace gc::receive

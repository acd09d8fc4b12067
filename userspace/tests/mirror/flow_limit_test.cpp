// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/flow_limit.h"

#include <gtest/gtest.h>

namespace gc::mirror {
namespace {

Segment of(std::uint16_t port, bool syn = false) {
    Segment segment;
    segment.flow.client_port = port;
    segment.syn = syn;
    segment.ack = !syn;
    return segment;
}

TEST(FlowLimit, SendsAllWhileTheQueueIsShort) {
    FlowLimit limit;
    for (std::uint16_t port = 0; port < 1000; ++port)
        EXPECT_TRUE(limit.admit(of(port), 100, Queue::short_));
    EXPECT_EQ(limit.left_out(), 0U);
}

TEST(FlowLimit, LeavesOutTheLargestAndAllOfIt) {
    FlowLimit limit;
    EXPECT_TRUE(limit.admit(of(1), 1000, Queue::short_));
    EXPECT_TRUE(limit.admit(of(2), 100, Queue::long_));
    EXPECT_FALSE(limit.admit(of(1), 10, Queue::short_)) << "it has lost a packet";
    EXPECT_TRUE(limit.admit(of(2), 100, Queue::short_));
    EXPECT_TRUE(limit.admit(of(1, true), 60, Queue::short_)) << "a new one between the same ends";
    EXPECT_TRUE(limit.admit(of(1), 60, Queue::short_));
}

TEST(FlowLimit, AFullQueueTakesNothing) {
    FlowLimit limit;
    EXPECT_FALSE(limit.admit(of(1), 10, Queue::full));
    EXPECT_FALSE(limit.admit(of(1), 10, Queue::short_));
    EXPECT_FALSE(limit.admit(std::nullopt, 10, Queue::full));
    EXPECT_TRUE(limit.admit(std::nullopt, 10, Queue::short_)) << "a datagram may be lost";
    EXPECT_EQ(limit.left_out(), 3U);
}

TEST(FlowLimit, RemembersWhatIsLeftOutOfManyFlows) {
    FlowLimit limit;
    EXPECT_FALSE(limit.admit(of(60000), 10, Queue::full));
    for (std::uint16_t port = 0; port < 3 * (FlowLimit::max_flows / 2); ++port)
        EXPECT_TRUE(limit.admit(of(port), 10, Queue::short_));
    EXPECT_FALSE(limit.admit(of(60000), 10, Queue::short_));
}

}  // namespace
}  // namespace gc::mirror

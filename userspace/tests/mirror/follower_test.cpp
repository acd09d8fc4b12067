// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/follower.h"

#include "frames.h"

#include <gtest/gtest.h>

namespace gc::mirror {
namespace {

using namespace std::chrono_literals;

constexpr std::uint8_t fin_ack = 0x11, syn = 0x02, syn_ack = 0x12, rst = 0x04, ack = 0x10;

/// A guide that is only seen from outside.
class FollowerTest : public testing::Test {
  protected:
    void client(const Packet& packet) {
        auto bytes = packet.bytes();
        follower.from_client(0, bytes, now);
    }
    void guide(Packet packet) {
        packet.from = From::vm;
        const auto bytes = packet.bytes();
        follower.from_guide(0, std::span(bytes).subspan(virtio_header), now);
    }
    void wait(std::chrono::milliseconds time) {
        for (const auto end = now + time; now < end; now += 50ms)
            follower.tick(now);
    }
    /// The packets shown since the last call.
    std::vector<Segment> shown() {
        std::vector<Segment> segments;
        for (const auto& packet : std::exchange(packets, {})) {
            const auto segment = parse(0, std::span(packet).subspan(virtio_header), From::client);
            segments.push_back(segment.value_or(Segment{}));
            EXPECT_TRUE(!segment || has_right_checksum(packet, *segment));
        }
        return segments;
    }
    std::vector<std::uint32_t> acknowledged() {
        std::vector<std::uint32_t> numbers;
        for (const Segment& segment : shown())
            numbers.push_back(segment.acknowledged);
        return numbers;
    }
    using Numbers = std::vector<std::uint32_t>;

    Follower::Clock::time_point now{};
    std::vector<std::vector<std::byte>> packets;
    Follower follower{[this](std::uint16_t, std::span<const std::byte> packet) {
                          packets.emplace_back(packet.begin(), packet.end());
                      },
                      {.connections = 8, .kept_of_each = 2000, .kept = 5000}};
    const FollowerCounts& counts = follower.counts();
};

TEST_F(FollowerTest, AcknowledgesWhatTheGuideHasSent) {
    guide({.sequence = 500, .acknowledged = 100, .payload = 10});
    client({.sequence = 100, .acknowledged = 900, .payload = 20});  // the VM was ahead
    client({.sequence = 120, .acknowledged = 300, .payload = 20});  // the VM was behind
    EXPECT_EQ(acknowledged(), (Numbers{510, 510}));
    guide({.sequence = 510, .acknowledged = 140, .payload = 5});
    client({.sequence = 140, .acknowledged = 910});
    EXPECT_EQ(acknowledged(), (Numbers{515}));
    EXPECT_EQ(counts.connections, 1U);
    EXPECT_EQ(counts.in_step, 1U);
    EXPECT_EQ(follower.kept(), 0U);
}

TEST_F(FollowerTest, AnOldConnectionIsShownAsItIsUntilTheGuideHasSpoken) {
    client({.sequence = 100, .acknowledged = 500, .payload = 20});
    client(
        {.sequence = 120, .acknowledged = 700, .payload = 20});  // of what the guide has not sent
    EXPECT_EQ(acknowledged(), (Numbers{500, 700}));
    guide({.sequence = 500, .acknowledged = 120, .payload = 60});
    // Only what it has not taken, and as if the client knew what it has sent.
    const auto again = shown();
    ASSERT_EQ(again.size(), 1U);
    EXPECT_EQ(again[0].sequence, 120U);
    EXPECT_EQ(again[0].acknowledged, 560U);
}

TEST_F(FollowerTest, ANewConnectionWaitsForTheGuidesOwnNumbers) {
    client({.sequence = 99, .flags = syn});
    client({.sequence = 100, .acknowledged = 1});
    client({.sequence = 100, .acknowledged = 1, .payload = 30});
    const auto first = shown();
    ASSERT_EQ(first.size(), 1U);
    EXPECT_TRUE(first[0].syn);
    guide({.sequence = 7000, .acknowledged = 100, .flags = syn_ack});
    EXPECT_EQ(acknowledged(), (Numbers{7001, 7001}));
    guide({.sequence = 7001, .acknowledged = 130, .payload = 4});
    EXPECT_EQ(follower.kept(), 0U);
    EXPECT_EQ(counts.in_step, 1U);
}

TEST_F(FollowerTest, TheAnswerToTheVmsOwnSynWaitsForThatOfTheGuide) {
    client({.sequence = 10, .acknowledged = 51, .flags = syn_ack});
    EXPECT_TRUE(shown().empty());
    guide({.sequence = 900, .flags = syn});
    EXPECT_EQ(acknowledged(), (Numbers{901}));
}

TEST_F(FollowerTest, ASynBeginsAnew) {
    guide({.sequence = 500, .acknowledged = 100, .payload = 10});
    client({.sequence = 100, .payload = 10});
    client({.sequence = 9, .flags = syn});
    client({.sequence = 10, .acknowledged = 1, .payload = 10});
    EXPECT_EQ(shown().size(), 2U);
    EXPECT_EQ(counts.connections, 2U);
    // Sent again, it does not.
    client({.sequence = 9, .flags = syn});
    EXPECT_EQ(shown().size(), 1U);
    EXPECT_EQ(counts.connections, 2U);
}

TEST_F(FollowerTest, WhatTheGuideDoesNotTakeIsShownAgain) {
    guide({.sequence = 500, .acknowledged = 100});
    client({.sequence = 100, .payload = 10});
    (void)shown();
    wait(Follower::patience - 50ms);
    EXPECT_TRUE(shown().empty());
    wait(2 * Follower::patience);
    EXPECT_EQ(shown().size(), 1U);
    wait(10s);
    EXPECT_LE(shown().size(), 6U);  // ever less often
    guide({.sequence = 500, .acknowledged = 110});
    wait(10s);
    EXPECT_TRUE(shown().empty());
    EXPECT_EQ(counts.dead, 0U);
}

TEST_F(FollowerTest, ThreeEqualAcknowledgementsAskForTheFirstThatIsMissing) {
    guide({.sequence = 500, .acknowledged = 100});
    client({.sequence = 110, .payload = 10});
    client({.sequence = 100, .payload = 10});
    (void)shown();
    for (int i = 0; i < 3; ++i)
        guide({.sequence = 500, .acknowledged = 100});
    const auto again = shown();
    ASSERT_EQ(again.size(), 1U);
    EXPECT_EQ(again[0].sequence, 100U);
}

TEST_F(FollowerTest, AHoleThatNobodyFillsIsTheEnd) {
    guide({.sequence = 500, .acknowledged = 100});
    client({.sequence = 110, .payload = 10});
    wait(Follower::hole_lasts / 2);
    EXPECT_EQ(counts.dead, 0U);
    wait(Follower::hole_lasts);
    EXPECT_EQ(counts.dead, 1U);
    (void)shown();
    client({.sequence = 120, .payload = 10});
    EXPECT_TRUE(shown().empty());
    EXPECT_EQ(counts.skipped, 1U);
    EXPECT_EQ(follower.kept(), 0U);
}

TEST_F(FollowerTest, AHoleThatIsFilledIsNone) {
    guide({.sequence = 500, .acknowledged = 100});
    client({.sequence = 110, .payload = 10});
    wait(Follower::hole_lasts / 2);
    client({.sequence = 100, .payload = 10});
    guide({.sequence = 500, .acknowledged = 120});
    wait(2 * Follower::hole_lasts);
    EXPECT_EQ(counts.dead, 0U);
    EXPECT_EQ(counts.in_step, 1U);
}

TEST_F(FollowerTest, AResetOfTheGuideIsTheEndUnlessTheClientIsDone) {
    client({.sequence = 100, .payload = 10});
    guide({.sequence = 500, .flags = rst});
    EXPECT_EQ(counts.dead, 1U);
    client({.sequence = 100, .payload = 10, .port = 2});
    guide({.sequence = 500, .acknowledged = 110, .port = 2});
    client({.sequence = 110, .flags = fin_ack, .port = 2});
    guide({.sequence = 500, .flags = rst, .port = 2});
    EXPECT_EQ(counts.dead, 1U);
    EXPECT_EQ(counts.in_step, 1U);
}

TEST_F(FollowerTest, WholeConnectionsAreLostWhenTooMuchIsKept) {
    for (std::uint32_t i = 0; i < 3; ++i)
        client({.sequence = 1000 * i, .payload = 900});
    EXPECT_EQ(counts.dead, 1U);
    EXPECT_EQ(follower.kept(), 0U);
    // And over all: the largest.
    for (std::uint16_t port = 1; port <= 4; ++port)
        for (std::uint32_t i = 0; i < (port == 2 ? 2U : 1U); ++i)
            client({.sequence = 1000 * i, .payload = port == 2 ? 900U : 1300U, .port = port});
    EXPECT_EQ(counts.dead, 2U);
    EXPECT_LE(follower.kept(), 5000U);
}

TEST_F(FollowerTest, WhatTheDestinationLeftOutIsTheEnd) {
    client({.sequence = 100, .payload = 10});
    const auto bytes = Packet{.sequence = 110, .payload = 500}.bytes();
    follower.left_out(0, std::span(bytes).subspan(virtio_header).first(60));
    EXPECT_EQ(counts.dead, 1U);
}

TEST_F(FollowerTest, ForgetsTheLeastRecentlyUsed) {
    for (std::uint16_t port = 1; port <= 100; ++port)
        client({.payload = 100, .port = port});
    EXPECT_EQ(counts.connections, 100U);
    EXPECT_LE(follower.kept(), 8U * 200U);
}

TEST_F(FollowerTest, OtherPacketsPassAsTheyAre) {
    client({.payload = 10, .protocol = 17});
    ASSERT_EQ(packets.size(), 1U);
    EXPECT_EQ(packets[0], (Packet{.payload = 10, .protocol = 17}.bytes()));
    EXPECT_EQ(counts.connections, 0U);
    EXPECT_EQ(counts.packets, 1U);
}

}  // namespace
}  // namespace gc::mirror

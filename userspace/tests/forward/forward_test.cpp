// SPDX-License-Identifier: GPL-2.0-or-later
// From the source's tap to the destination's. Needs root: taps in namespaces of their own.
#include "forward/deliverer.h"
#include "forward/forwarder.h"

#include "../mirror/two_hosts.h"

#include <chrono>

namespace gc::forward {
namespace {

using namespace std::chrono_literals;
using mirror::Packet;
using peer::ChannelId;

class ForwardTest : public mirror::TwoHosts {
  protected:
    ForwardTest() : TwoHosts(ChannelId::forward) {}

    std::unique_ptr<Forwarder> make_forwarder() {
        auto made = Forwarder::create(source.taps(), at_source(), 0);
        EXPECT_TRUE(made) << made.error().message;
        // Times are noted from a moment later on: see net_enable_timestamp() in net/core/dev.c.
        std::this_thread::sleep_for(100ms);
        return *std::move(made);
    }
    std::unique_ptr<Deliverer> start_deliverer() {
        auto ports = Deliverer::open(destination.taps());
        EXPECT_TRUE(ports) << ports.error().message;
        return Deliverer::start(*std::move(ports), at_destination()).value();
    }
    /// The sequence number of the next packet that the VM reads.
    std::optional<std::uint32_t> delivered() const {
        const auto frame = destination.read_tap(2s);
        const auto segment = mirror::parse(0, frame, mirror::From::client);
        return segment ? std::optional(segment->sequence) : std::nullopt;
    }
    template <typename Done> static bool wait_for(Done done) {
        for (int i = 0; i < 5000 && !done(); ++i)
            std::this_thread::sleep_for(1ms);
        return done();
    }
    void write(const std::vector<std::byte>& packet,
               mirror::RecordKind kind = mirror::RecordKind::packet) {
        ASSERT_TRUE(at_source().write(mirror::record_head(kind, 0, packet.size())));
        ASSERT_TRUE(at_source().write(packet));
    }
};

TEST_F(ForwardTest, DeliversWhatArrivedSinceTheStopInOrder) {
    auto forwarder = make_forwarder();
    source.from_client({.sequence = 1, .payload = 10});
    ASSERT_TRUE(forwarder->listen());
    ASSERT_TRUE(forwarder->listen()) << "again";
    source.from_client({.sequence = 2, .payload = 10});
    const auto stopped = std::chrono::system_clock::now();
    for (std::uint32_t i = 3; i < 103; ++i)
        source.from_client({.sequence = i, .payload = i, .tags = {9}});
    EXPECT_EQ(at_source().unacknowledged(), 0U) << "the VM may yet run here";
    forwarder->start(stopped);
    auto deliverer = start_deliverer();
    for (std::uint32_t i = 3; i < 103; ++i)
        ASSERT_EQ(delivered(), i);
    source.from_client({.sequence = 200, .payload = 1400});
    EXPECT_EQ(delivered(), 200U);
    // Each is counted once it is on its way.
    EXPECT_TRUE(wait_for([&] { return forwarder->counts().packets >= 101; }));
    EXPECT_TRUE(wait_for([&] { return deliverer->counts().packets >= 101; }));
    const ForwarderCounts counts = forwarder->counts();
    EXPECT_EQ(counts.packets, 101U);
    EXPECT_EQ(counts.dropped, 0U);
    EXPECT_GT(counts.bytes, 101U * 54);
    EXPECT_EQ(deliverer->counts().packets, 101U);
    EXPECT_EQ(deliverer->counts().refused, 0U);
    EXPECT_FALSE(forwarder->error());
    EXPECT_FALSE(deliverer->error());
}

TEST_F(ForwardTest, EndsSoonAfterTheVmRuns) {
    auto forwarder = make_forwarder();
    ASSERT_TRUE(forwarder->listen());
    forwarder->start(std::chrono::system_clock::now());
    auto deliverer = start_deliverer();
    EXPECT_FALSE(forwarder->done());
    forwarder->resumed();
    source.from_client({.sequence = 5, .payload = 10});
    EXPECT_EQ(delivered(), 5U) << "the network has not learned where the VM is";
    EXPECT_TRUE(wait_for([&] { return forwarder->done(); }));
    EXPECT_TRUE(wait_for([&] { return at_source().over() && at_destination().over(); }));
    forwarder->stop();
    EXPECT_EQ(forwarder->counts().packets, 1U);
}

TEST_F(ForwardTest, ADestinationThatTakesNothingCostsABoundedQueue) {
    auto forwarder = make_forwarder();
    ASSERT_TRUE(forwarder->listen());
    forwarder->start(std::chrono::system_clock::now());
    constexpr std::uint64_t sent = 4000;
    for (std::uint32_t i = 0; i < sent; ++i) {
        source.from_client({.sequence = i, .payload = 1400});
        if (i % 100 == 0)
            source.drain_tap();
    }
    ASSERT_TRUE(wait_for([&] { return at_source().unacknowledged() > 0; }));
    EXPECT_LE(at_source().unacknowledged(), Forwarder::max_in_flight + (std::size_t{128} << 10));
    forwarder->stop();
    const ForwarderCounts counts = forwarder->counts();
    EXPECT_GT(counts.packets, 0U);
    EXPECT_GT(counts.dropped, 0U);
    EXPECT_EQ(counts.packets + counts.dropped, sent) << "each is counted";
}

TEST_F(ForwardTest, WithoutACommitNothingIsSent) {
    auto forwarder = make_forwarder();
    ASSERT_TRUE(forwarder->listen());
    source.from_client({.sequence = 5, .payload = 10});
    auto deliverer = start_deliverer();
    forwarder.reset();
    EXPECT_TRUE(wait_for([&] { return at_source().over(); }));
    EXPECT_EQ(deliverer->counts().packets, 0U);
    EXPECT_TRUE(destination.read_tap(0ms).empty());
}

TEST_F(ForwardTest, OnlyPacketsForANicOfTheVmAreDelivered) {
    auto deliverer = start_deliverer();
    auto other = Packet{.sequence = 1, .payload = 10}.bytes();
    other[mirror::virtio_header + 5] = std::byte{0x53};
    write(other);
    auto broadcast = Packet{.sequence = 2, .payload = 10}.bytes();
    std::fill_n(broadcast.begin() + mirror::virtio_header, 6, std::byte{0xff});
    write(broadcast);
    write(std::vector<std::byte>(5));
    write(std::vector<std::byte>(mirror::virtio_header + 6, std::byte{0x52}));
    write(std::vector<std::byte>(mirror::virtio_header + 3000, std::byte{0x52}));
    write(Packet{.sequence = 6, .payload = 10}.bytes());
    EXPECT_EQ(delivered(), 6U);
    EXPECT_TRUE(wait_for([&] { return deliverer->counts().packets >= 1; }));
    EXPECT_TRUE(destination.read_tap(0ms).empty());
    EXPECT_EQ(deliverer->counts().packets, 1U);
    EXPECT_EQ(deliverer->counts().refused, 5U);
    EXPECT_FALSE(deliverer->error());
}

TEST_F(ForwardTest, ARecordThatIsNoPacketEndsTheChannel) {
    auto deliverer = start_deliverer();
    write(Packet{.payload = 10}.bytes(), mirror::RecordKind::lost);
    EXPECT_TRUE(wait_for([&] { return deliverer->error().has_value(); }));
    ASSERT_TRUE(deliverer->error());
    EXPECT_EQ(deliverer->error()->kind, ErrorKind::protocol);
    EXPECT_EQ(deliverer->error()->message,
              "expected packets only on channel 'forward', found a record of kind 3");
    EXPECT_TRUE(wait_for([&] { return !at_source().write(std::vector<std::byte>(1)); }));
}

}  // namespace
}  // namespace gc::forward

// SPDX-License-Identifier: GPL-2.0-or-later
// The mirror from the destination's tap to the guide's. Needs root: taps in namespaces of their
// own.
#include "mirror/sender.h"

#include "mirror/injector.h"

#include "two_hosts.h"

#include <map>

namespace gc::mirror {
namespace {

using namespace std::chrono_literals;
using peer::ChannelId;

class MirrorTest : public TwoHosts {
  protected:
    MirrorTest() : TwoHosts(ChannelId::mirror) {}

    void from_client(const Packet& packet) const { destination.from_client(packet); }
    std::unique_ptr<Sender> start_sender() {
        return Sender::start(destination.taps(), at_destination()).value();
    }
    std::optional<Segment> at_guide() const { return parse(0, source.read_tap(2s), From::client); }
    void from_guide(Packet packet) const {
        packet.from = From::vm;
        const auto bytes = packet.bytes();
        ASSERT_EQ(::write(source.tap, bytes.data(), bytes.size()),
                  static_cast<ssize_t>(bytes.size()));
    }
};

TEST_F(MirrorTest, ShowsTheGuideWhatArrivesForItsVm) {
    auto injector = Injector::start((*near)[ChannelId::mirror], source.space->network_namespace(),
                                    {{.nic = 0, .device = source.space->taps()[0].name}})
                        .value();
    auto sender = start_sender();
    from_client({.sequence = 100, .acknowledged = 500, .payload = 10});
    auto shown = at_guide();
    ASSERT_TRUE(shown);
    EXPECT_EQ(shown->acknowledged, 500U);
    from_guide({.sequence = 500, .acknowledged = 110, .payload = 77});
    for (int i = 0; i < 2000 && injector->counts().follower.answers == 0; ++i)
        std::this_thread::sleep_for(1ms);
    from_client({.sequence = 110, .acknowledged = 900, .payload = 10});
    shown = at_guide();
    ASSERT_TRUE(shown);
    EXPECT_EQ(shown->sequence, 110U);
    EXPECT_EQ(shown->acknowledged, 577U) << "what the guide has sent";
    injector->stop();
    const InjectorCounts counts = injector->counts();
    EXPECT_EQ(counts.follower.packets, 2U);
    EXPECT_EQ(counts.follower.in_step, 1U);
    EXPECT_EQ(counts.refused + counts.left_out + counts.lost, 0U);
    EXPECT_FALSE(injector->error());
    EXPECT_EQ(source.space->sent_by_guide()->packets, 1U) << "dropped and counted";
    // The sender ends by itself, and the channel needs no connection any more.
    from_client({.sequence = 120, .payload = 10});
    for (int i = 0; i < 2000 && !(*far)[ChannelId::mirror].over(); ++i)
        std::this_thread::sleep_for(1ms);
    EXPECT_TRUE((*far)[ChannelId::mirror].over());
}

TEST_F(MirrorTest, LeavesOutWholeConnectionsWhenTheSourceTakesNothing) {
    auto sender = start_sender();
    constexpr std::uint32_t size = 1400, upload = 3000;
    for (std::uint32_t i = 0; i < upload; ++i) {
        from_client({.sequence = i * size, .payload = size, .port = 1});
        if (i % 100 == 0)
            from_client({.sequence = i / 100 * 10, .payload = 10, .port = 2});
        if (i % 50 == 0)
            destination.drain_tap();
    }
    EXPECT_LE((*far)[ChannelId::mirror].unacknowledged(), peer::Channels::max_unsent_packets);
    std::thread reader([&] {
        // Only now. No packet may follow one of its connection that is missing.
        RecordReader records;
        std::map<std::uint16_t, std::uint32_t> next;
        std::map<std::uint16_t, std::uint64_t> packets;
        std::uint64_t lost = 0;
        while (const auto got = (*near)[ChannelId::mirror].read_some(records.room()).value_or(0)) {
            records.received(got);
            while (const auto record = records.next().value()) {
                lost += record->kind == RecordKind::lost ? 1 : 0;
                if (record->kind != RecordKind::packet)
                    continue;
                const auto segment = parse(0, record->content.subspan(virtio_header), From::client);
                ASSERT_TRUE(segment);
                const std::uint16_t port = segment->flow.client_port;
                ASSERT_TRUE(lost > 0 || next[port] == segment->sequence) << port;
                next[port] = segment->end();
                ++packets[port];
            }
        }
        EXPECT_GT(packets[1], 0U);
        EXPECT_LT(packets[1], upload);
        EXPECT_GT(packets[2], 0U);
    });
    sender.reset();  // waits for nobody
    reader.join();
}

}  // namespace
}  // namespace gc::mirror

// SPDX-License-Identifier: GPL-2.0-or-later
// The mirror from the destination's tap to the guide's. Needs root: taps in namespaces of their
// own.
#include "mirror/sender.h"

#include "guide/quarantine.h"
#include "mirror/injector.h"
#include "peer/channels.h"
#include "util/poll.h"

#include "frames.h"

#include <array>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <map>
#include <sched.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace gc::mirror {
namespace {

using namespace std::chrono_literals;
using peer::ChannelId;

constexpr auto soon = 5s;
/// To which the packets of frames.h go.
constexpr auto mac = "52:52:52:52:52:52";

struct Host {
    std::optional<guide::Quarantine> space;
    int tap = -1;

    void create() {
        const guide::TapRequest request{
            .netdev = "n", .queues = 1, .vnet_hdr = true, .first_fd = 10};
        auto made = guide::Quarantine::create({&request, 1});
        ASSERT_TRUE(made) << made.error().message;
        space.emplace(*std::move(made));
        tap = space->taps()[0].queues[0].get();
    }
};

class MirrorTest : public testing::Test {
  protected:
    void SetUp() override {
        destination.create();
        source.create();
        far = peer::Channels::create({.end = peer::End::destination, .dial = {}}).value();
        near = peer::Channels::create({.end = peer::End::source,
                                       .dial = [this](auto id, bool, auto) { return dial(id); }})
                   .value();
        ASSERT_TRUE(near->open(std::array{ChannelId::mirror}, soon));
        make_wire();
    }
    void TearDown() override {
        near.reset();
        for (std::thread& thread : there)
            thread.join();
        far.reset();
    }
    Result<peer::Connection> dial(ChannelId id) {
        std::array<int, 2> ends{};
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
            return fail_errno(errno, "socketpair");
        there.emplace_back([this, id, fd = ends[1]] {
            (void)far->attach(id, peer::Connection(UniqueFd(fd)), soon);
        });
        return peer::Connection(UniqueFd(ends[0]));
    }
    /// What the VM's clients send on.
    void make_wire() {
        std::thread([&] {
            ASSERT_EQ(::setns(destination.space->network_namespace(), CLONE_NEWNET), 0);
            wire = UniqueFd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
        }).join();
        ASSERT_TRUE(wire);
    }
    void from_client(const Packet& packet) const {
        const auto bytes = packet.bytes();
        sockaddr_ll to{};
        to.sll_family = AF_PACKET;
        to.sll_ifindex = destination.space->taps()[0].index;
        ASSERT_GT(::sendto(wire.get(), bytes.data() + virtio_header, bytes.size() - virtio_header,
                           0, reinterpret_cast<sockaddr*>(&to), sizeof to),
                  0);
    }
    void drain_destination() const {
        std::array<std::byte, 2000> packet{};
        while (wait_readable(destination.tap, 0ms).value())
            (void)!::read(destination.tap, packet.data(), packet.size());
    }
    std::unique_ptr<Sender> start_sender() {
        auto socket = PacketSocket::open(destination.space->network_namespace(),
                                         destination.space->taps()[0].name,
                                         PacketSocket::Receives::sent_to, *parse_mac(mac));
        EXPECT_TRUE(socket) << socket.error().message;
        std::vector<Tap> taps;
        taps.push_back({mac, *std::move(socket)});
        return Sender::start(std::move(taps), (*far)[ChannelId::mirror]).value();
    }
    std::optional<Segment> at_guide() const {
        std::vector<std::byte> packet(max_packet);
        if (!wait_readable(source.tap, 2s).value())
            return std::nullopt;
        const ssize_t size = ::read(source.tap, packet.data(), packet.size());
        return parse(0,
                     std::span(packet).first(static_cast<std::size_t>(size)).subspan(virtio_header),
                     From::client);
    }
    void from_guide(Packet packet) const {
        packet.from = From::vm;
        const auto bytes = packet.bytes();
        ASSERT_EQ(::write(source.tap, bytes.data(), bytes.size()),
                  static_cast<ssize_t>(bytes.size()));
    }

    Host destination, source;
    UniqueFd wire;
    std::vector<std::thread> there;
    std::shared_ptr<peer::Channels> near, far;
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
            drain_destination();
    }
    EXPECT_LE((*far)[ChannelId::mirror].unacknowledged(), peer::Channels::max_unsent_mirror);
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

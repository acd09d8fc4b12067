// SPDX-License-Identifier: GPL-2.0-or-later
// Needs root: a tap in a guide's quarantine.
#include "mirror/packet_socket.h"

#include "guide/quarantine.h"
#include "util/poll.h"

#include "frames.h"

#include <cstring>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace gc::mirror {
namespace {

using namespace std::chrono_literals;

class GuidesTap : public testing::Test {
  protected:
    void SetUp() override {
        const guide::TapRequest request{
            .netdev = "n", .queues = 1, .vnet_hdr = true, .first_fd = 10};
        auto made = guide::Quarantine::create({&request, 1});
        ASSERT_TRUE(made) << made.error().message;
        quarantine.emplace(*std::move(made));
        tap = quarantine->taps()[0].queues[0].get();
        // As QEMU does for a guest that can take such packets.
        ASSERT_EQ(::ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6), 0);
        auto opened =
            PacketSocket::open(quarantine->network_namespace(), quarantine->taps()[0].name,
                               PacketSocket::Receives::headers);
        ASSERT_TRUE(opened) << opened.error().message;
        socket.emplace(*std::move(opened));
        ASSERT_TRUE(socket->listen());
    }
    std::vector<std::byte> at_guide() {
        std::vector<std::byte> packet(max_packet);
        if (!wait_readable(tap, 2s).value())
            return {};
        const ssize_t size = ::read(tap, packet.data(), packet.size());
        packet.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
        return packet;
    }

    std::optional<guide::Quarantine> quarantine;
    std::optional<PacketSocket> socket;
    int tap = -1;
};

TEST_F(GuidesTap, TakesAPacketAsItIs) {
    const auto packet = Packet{.payload = 100}.bytes();
    ASSERT_TRUE(socket->send(packet));
    EXPECT_EQ(at_guide(), packet);
}

TEST_F(GuidesTap, TakesAGsoPacketWhole) {
    for (const std::uint8_t version : {std::uint8_t{4}, std::uint8_t{6}}) {
        auto packet = Packet{.version = version, .payload = 20'000, .partial = true}.bytes();
        const std::size_t tcp = version == 4 ? 34 : 54;
        const std::uint16_t header = static_cast<std::uint16_t>(tcp + 20), size = 1448,
                            start = static_cast<std::uint16_t>(tcp), offset = 16;
        packet[1] = static_cast<std::byte>(version == 4 ? 1 : 4);  // VIRTIO_NET_HDR_GSO_TCPV4, 6
        std::memcpy(packet.data() + 2, &header, 2);
        std::memcpy(packet.data() + 4, &size, 2);
        std::memcpy(packet.data() + 6, &start, 2);
        std::memcpy(packet.data() + 8, &offset, 2);
        ASSERT_TRUE(socket->send(packet));
        const auto arrived = at_guide();
        ASSERT_EQ(arrived.size(), packet.size());
        EXPECT_TRUE(std::ranges::equal(std::span(arrived).subspan(virtio_header),
                                       std::span(packet).subspan(virtio_header)));
    }
}

TEST_F(GuidesTap, RefusesWhatIsNoPacket) {
    EXPECT_FALSE(socket->send({}));
    auto packet = Packet{.payload = 10}.bytes();
    packet[1] = std::byte{0x55};  // no such kind of GSO
    EXPECT_FALSE(socket->send(packet));
}

TEST_F(GuidesTap, ShowsHeadersOfWhatTheGuideSendsAndStillDropsIt) {
    for (const std::vector<std::uint16_t>& tags : {std::vector<std::uint16_t>{}, {9}}) {
        const auto packet =
            Packet{.from = From::vm, .sequence = 5, .payload = 1000, .tags = tags}.bytes();
        ASSERT_EQ(::write(tap, packet.data(), packet.size()), static_cast<ssize_t>(packet.size()));
        ASSERT_TRUE(wait_readable(socket->fd(), 2s).value());
        std::vector<std::byte> seen(virtio_header + max_headers + tag_size);
        const auto size = socket->receive(seen).value();
        ASSERT_TRUE(size);
        const auto segment =
            parse(0, std::span(seen).first(*size).subspan(virtio_header), From::vm);
        ASSERT_TRUE(segment);
        EXPECT_EQ(segment->end(), 1005U);
        EXPECT_EQ(segment->flow.vlan, tags.empty() ? 0U : 9U) << "the kernel takes it out";
    }
    EXPECT_EQ(quarantine->sent_by_guide()->packets, 2U);
    EXPECT_FALSE(wait_readable(tap, 300ms).value()) << "somebody answered the guide";
}

TEST_F(GuidesTap, DoesNotShowWhatIsSentToTheGuide) {
    ASSERT_TRUE(socket->send(Packet{.payload = 10}.bytes()));
    EXPECT_FALSE(wait_readable(socket->fd(), 300ms).value());
}

TEST_F(GuidesTap, OfAnotherNameIsRefused) {
    const auto none = PacketSocket::open(quarantine->network_namespace(), "gcnone",
                                         PacketSocket::Receives::headers);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().message, "no network device 'gcnone'");
}

}  // namespace
}  // namespace gc::mirror

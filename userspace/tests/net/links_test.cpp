// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/links.h"
#include "util/fd.h"

#include <climits>
#include <gmock/gmock.h>
#include <linux/if_arp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace gc::net {
namespace {

using testing::HasSubstr;

Link link(int index, std::string name, std::string kind = "", int lower = 0, int master = 0) {
    return {.index = index,
            .name = std::move(name),
            .kind = std::move(kind),
            .arp_type = ARPHRD_ETHER,
            .lower = lower,
            .master = master};
}

std::string wire(const Links& all, std::size_t by) {
    const auto found = wire_of(all, all[by]);
    return found ? found->name : found.error().message;
}

TEST(WireOf, ANicIsItsOwn) {
    EXPECT_EQ(wire({link(2, "eth0")}, 0), "eth0");
}

TEST(WireOf, AVlanIsItsLowerLinks) {
    EXPECT_EQ(wire({link(2, "eth0"), link(3, "eth0.5", "vlan", 2)}, 1), "eth0");
}

TEST(WireOf, AVlanWhoseLowerLinkIsElsewhereIsItsOwn) {
    EXPECT_EQ(wire({link(3, "eth0.5", "vlan")}, 0), "eth0.5");
}

TEST(WireOf, ABridgesPortThatLeadsOut) {
    EXPECT_EQ(
        wire({link(2, "eth0", "", 0, 4), link(3, "tap0", "tun", 0, 4), link(4, "br0", "bridge")},
             2),
        "eth0");
}

TEST(WireOf, AVlanOfABridgeOverAVlan) {
    EXPECT_EQ(wire({link(2, "eth0"), link(3, "eth0.5", "vlan", 2, 4), link(4, "br0", "bridge"),
                    link(5, "br0.7", "vlan", 4)},
                   3),
              "eth0");
}

TEST(WireOf, ABridgeWithTwoAsksWhich) {
    const auto said =
        wire({link(2, "eth0", "", 0, 4), link(3, "eth1", "", 0, 4), link(4, "br0", "bridge")}, 2);
    EXPECT_THAT(said, HasSubstr("br0, which has 2 ports"));
    EXPECT_THAT(said, HasSubstr("eth0, eth1"));
    EXPECT_THAT(said, HasSubstr("--policy-dev"));
}

TEST(WireOf, ABridgeWithoutPortsLeadsNowhere) {
    EXPECT_THAT(wire({link(4, "br0", "bridge")}, 0), HasSubstr("0 ports"));
}

TEST(WireOf, TheLoopbackHasNoWire) {
    Link lo = link(1, "lo");
    lo.arp_type = ARPHRD_LOOPBACK;
    EXPECT_THAT(wire({lo}, 0), HasSubstr("so there is no NIC to shape"));
}

TEST(WireOf, OnlyEthernetFramesAreTaken) {
    Link tunnel = link(6, "wg0", "wireguard");
    tunnel.arp_type = ARPHRD_NONE;
    EXPECT_THAT(wire({tunnel}, 0), HasSubstr("does not send Ethernet frames"));
}

TEST(ReceivedBy, CountsWhatTheLoopbackReceives) {
    Netlink netlink = Netlink::open().value();
    const Link lo = find_link(links(netlink).value(), "lo").value();
    const auto before = received_by(netlink, lo).value();
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in discard{};
    discard.sin_family = AF_INET;
    discard.sin_port = htons(9);
    discard.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::sendto(socket.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&discard),
                 sizeof discard) < 0)
        GTEST_SKIP() << "the loopback device is down";
    const auto after = received_by(netlink, lo).value();
    EXPECT_GT(after.packets, before.packets);
    EXPECT_GT(after.bytes, before.bytes);
}

TEST(SetUp, ReportsALinkThatDoesNotExist) {
    Netlink netlink = Netlink::open().value();
    const auto set = set_up(netlink, link(INT_MAX, "nosuch"));
    ASSERT_FALSE(set);
    EXPECT_THAT(set.error().message, HasSubstr("set nosuch up: "));
}

}  // namespace
}  // namespace gc::net

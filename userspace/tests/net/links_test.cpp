// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/links.h"

#include <gmock/gmock.h>
#include <linux/if_arp.h>

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

}  // namespace
}  // namespace gc::net

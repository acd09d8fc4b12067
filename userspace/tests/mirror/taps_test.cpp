// SPDX-License-Identifier: GPL-2.0-or-later
// Against a real QEMU that is started paused. Needs root: it makes taps in a network namespace.
#include "mirror/taps.h"

#include "../qmp/paused_qemu.h"
#include "util/poll.h"

#include <arpa/inet.h>
#include <cstring>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <thread>

namespace gc::mirror {
namespace {

using namespace std::chrono_literals;

constexpr auto mac = "52:54:00:00:00:07";

/// Runs in a network namespace of its own.
template <typename F> void apart(F work) {
    std::thread([&] {
        ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "run as root";
        work();
    }).join();
}

void set_up(const char* device) {
    const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strncpy(request.ifr_name, device, IFNAMSIZ - 1);
    request.ifr_flags = IFF_UP;
    ASSERT_EQ(::ioctl(any.get(), SIOCSIFFLAGS, &request), 0);
}

/// As the host, or a bridge, does.
void send_to(const char* device, std::uint8_t last_of_mac) {
    std::array<std::uint8_t, 60> frame{0x52, 0x54, 0, 0, 0, last_of_mac, 0x52,
                                       0x54, 0,    0, 0, 1, 8,           0};
    const UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(::if_nametoindex(device));
    ASSERT_EQ(::sendto(fd.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&to),
                       sizeof to),
              static_cast<ssize_t>(frame.size()));
}

TEST(TapsOfQemu, AreFoundByTheirNamesAndOthersAreNamed) {
    apart([] {
        qmp::PausedQemu qemu({"-machine", "q35", "-netdev",
                              "tap,id=n0,ifname=gctap,script=no,downscript=no", "-device",
                              fmt::format("virtio-net-pci,netdev=n0,mac={}", mac), "-netdev",
                              "user,id=n1", "-device", "e1000,netdev=n1,id=second"});
        auto client = qemu.connect();
        Taps taps = find_taps(client, qemu.pid());
        EXPECT_EQ(taps.reason, "NIC 'second': its back end is 'user', not a tap");
        ASSERT_EQ(taps.found.size(), 1U);
        EXPECT_EQ(taps.found[0].mac, mac);
        PacketSocket& socket = taps.found[0].socket;
        set_up("gctap");
        send_to("gctap", 7);
        EXPECT_FALSE(wait_readable(socket.fd(), 200ms).value()) << "before listen()";
        ASSERT_TRUE(socket.listen());
        send_to("gctap", 8);  // another VM's
        EXPECT_FALSE(wait_readable(socket.fd(), 200ms).value());
        send_to("gctap", 7);
        EXPECT_TRUE(wait_readable(socket.fd(), 2s).value());
        std::vector<std::byte> packet(max_packet + tag_size);
        EXPECT_EQ(socket.receive(packet).value(), virtio_header + 60);
        EXPECT_FALSE(socket.receive(packet).value()) << "only that";
        EXPECT_EQ(socket.take_dropped(), 0U);
    });
}

TEST(TapsOfQemu, AreFoundByDescriptorInAnotherNamespace) {
    // The tap is made in a namespace that QEMU is not in.
    UniqueFd tap;
    UniqueFd space;
    apart([&] {
        tap = UniqueFd(::open("/dev/net/tun", O_RDWR));
        ifreq request{};
        std::strcpy(request.ifr_name, "gctap");
        request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
        ASSERT_EQ(::ioctl(tap.get(), TUNSETIFF, &request), 0);
        set_up("gctap");
        space = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    });
    qmp::PausedQemu qemu({"-machine", "q35", "-netdev", fmt::format("tap,id=n0,fd={}", tap.get()),
                          "-device", fmt::format("virtio-net-pci,netdev=n0,mac={}", mac)});
    auto client = qemu.connect();
    Taps taps = find_taps(client, qemu.pid());
    EXPECT_EQ(taps.reason, "");
    ASSERT_EQ(taps.found.size(), 1U);
    ASSERT_TRUE(taps.found[0].socket.listen());
    std::thread([&] {
        ASSERT_EQ(::setns(space.get(), CLONE_NEWNET), 0);
        send_to("gctap", 7);
    }).join();
    EXPECT_TRUE(wait_readable(taps.found[0].socket.fd(), 2s).value());
}

TEST(TapsOfQemu, AVmWithoutNicsHasNone) {
    qmp::PausedQemu qemu({"-machine", "q35"});
    auto client = qemu.connect();
    const Taps taps = find_taps(client, qemu.pid());
    EXPECT_TRUE(taps.found.empty());
    EXPECT_EQ(taps.reason, "the VM has no NIC of QEMU's");
}

}  // namespace
}  // namespace gc::mirror

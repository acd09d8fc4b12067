// SPDX-License-Identifier: GPL-2.0-or-later
// Needs root: network namespaces, taps, mounts.
#include "guide/quarantine.h"

#include "util/poll.h"
#include "util/whole_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace gc::guide {
namespace {

constexpr std::size_t virtio_header =
    10;  // struct virtio_net_hdr; the kernel's header is not valid C++

ino_t own_namespace() {
    struct stat status {};
    ::stat("/proc/thread-self/ns/net", &status);
    return status.st_ino;
}

/// Runs in the quarantine's namespace.
template <typename F> void inside(const Quarantine& quarantine, F work) {
    std::thread([&] {
        ASSERT_EQ(::setns(quarantine.network_namespace(), CLONE_NEWNET), 0);
        work();
    }).join();
}

/// Broadcast frames with that EtherType after an empty virtio header, like the first frames of a
/// guest.
void send(int tap, std::array<unsigned char, 2> type, int count) {
    std::array<unsigned char, virtio_header + 60> frame{};
    std::fill_n(frame.begin() + virtio_header, 6, 0xff);
    std::copy(type.begin(), type.end(), frame.begin() + virtio_header + 12);
    for (int i = 0; i < count; ++i)
        ASSERT_EQ(::write(tap, frame.data(), frame.size()), static_cast<ssize_t>(frame.size()));
}

TEST(Quarantine, LeavesTheCallersNamespaceAlone) {
    const ino_t before = own_namespace();
    auto quarantine = Quarantine::create({});
    ASSERT_TRUE(quarantine) << quarantine.error().message;
    EXPECT_EQ(own_namespace(), before);
    inside(*quarantine, [&] {
        EXPECT_NE(own_namespace(), before);
        // Two lines of header, and only the loopback device.
        const auto devices = read_whole_file("/proc/thread-self/net/dev").value();
        EXPECT_EQ(std::count(devices.begin(), devices.end(), '\n'), 3) << devices;
    });
}

TEST(Quarantine, MakesTapsWithTheQueuesAskedFor) {
    const std::array<TapRequest, 2> requests = {
        {{.netdev = "n0", .queues = 3, .vnet_hdr = true, .first_fd = 10},
         {.netdev = "n1", .queues = 1, .vnet_hdr = false, .first_fd = 13}}};
    auto quarantine = Quarantine::create(requests);
    ASSERT_TRUE(quarantine) << quarantine.error().message;
    ASSERT_EQ(quarantine->taps().size(), 2u);
    EXPECT_EQ(quarantine->taps()[0].queues.size(), 3u);
    EXPECT_EQ(quarantine->taps()[1].queues.size(), 1u);
    ifreq first{};
    ifreq second{};
    ASSERT_EQ(::ioctl(quarantine->taps()[0].queues[2].get(), TUNGETIFF, &first), 0);
    ASSERT_EQ(::ioctl(quarantine->taps()[1].queues[0].get(), TUNGETIFF, &second), 0);
    EXPECT_EQ(first.ifr_flags & (IFF_VNET_HDR | IFF_MULTI_QUEUE), IFF_VNET_HDR | IFF_MULTI_QUEUE);
    EXPECT_EQ(second.ifr_flags & (IFF_VNET_HDR | IFF_MULTI_QUEUE), 0);
    inside(*quarantine, [] {
        const auto addresses = read_whole_file("/proc/thread-self/net/if_inet6").value_or("");
        EXPECT_EQ(addresses, "") << "no IPv6 address";
    });
}

TEST(Quarantine, CountsWhatTheGuideSendsAndSendsNothingToIt) {
    const TapRequest request{.netdev = "n", .queues = 1, .vnet_hdr = true, .first_fd = 10};
    auto quarantine = Quarantine::create({&request, 1});
    ASSERT_TRUE(quarantine) << quarantine.error().message;
    const int tap = quarantine->taps()[0].queues[0].get();
    send(tap, {0x08, 0x06}, 5);
    send(tap, {0x08, 0x00}, 3);
    send(tap, {0x86, 0xdd}, 2);
    send(tap, {0x88, 0xcc}, 1);
    auto sent = quarantine->sent_by_guide();
    ASSERT_TRUE(sent) << sent.error().message;
    EXPECT_EQ(sent->packets, 11u);
    if (!quarantine->without_sink().empty())
        GTEST_SKIP() << quarantine->without_sink();
    EXPECT_EQ(sent->bytes, 11u * 60);
    EXPECT_EQ(sent->arp, 5u);
    EXPECT_EQ(sent->ipv4, 3u);
    EXPECT_EQ(sent->ipv6, 2u);
    EXPECT_EQ(sent->other, 1u);
    EXPECT_FALSE(wait_readable(tap, std::chrono::milliseconds(1500)).value())
        << "the kernel sent something to the guide";
}

TEST(Scratch, TakesFilesThroughItsDescriptorUpToItsSize) {
    auto scratch = make_scratch(1 << 20);
    ASSERT_TRUE(scratch) << scratch.error().message;
    const auto path = fmt::format("/proc/self/fd/{}/file", scratch->get());
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    ASSERT_TRUE(file) << std::strerror(errno);
    EXPECT_EQ(::ftruncate(file.get(), 8 << 20), 0);
    const std::vector<char> block(2 << 20, 'x');
    EXPECT_EQ(::write(file.get(), block.data(), block.size()), 1 << 20);
    const auto mounts = read_whole_file("/proc/self/mountinfo").value();
    EXPECT_EQ(mounts.find("guidecopy"), std::string::npos);
}

}  // namespace
}  // namespace gc::guide

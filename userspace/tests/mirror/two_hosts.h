// SPDX-License-Identifier: GPL-2.0-or-later
// Two hosts with a tap each, in namespaces of their own, and a channel between them. Needs root.
#pragma once

#include "guide/quarantine.h"
#include "mirror/packet_socket.h"
#include "mirror/taps.h"
#include "peer/channels.h"
#include "util/poll.h"

#include "frames.h"

#include <array>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace gc::mirror {

/// To which the packets of frames.h go.
inline constexpr auto vm_mac = "52:52:52:52:52:52";

struct Host {
    std::optional<guide::Quarantine> space;
    int tap = -1;
    UniqueFd wire;  ///< what the VM's clients send on

    void create() {
        const guide::TapRequest request{
            .netdev = "n", .queues = 1, .vnet_hdr = true, .first_fd = 10};
        auto made = guide::Quarantine::create({&request, 1});
        ASSERT_TRUE(made) << made.error().message;
        space.emplace(*std::move(made));
        tap = space->taps()[0].queues[0].get();
        std::thread([&] {
            ASSERT_EQ(::setns(space->network_namespace(), CLONE_NEWNET), 0);
            wire = UniqueFd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
        }).join();
        ASSERT_TRUE(wire);
    }
    void from_client(const Packet& packet) const { from_client(packet.bytes()); }
    /// @param packet with its virtio header
    void from_client(std::span<const std::byte> packet) const {
        const auto frame = packet.subspan(virtio_header);
        sockaddr_ll to{};
        to.sll_family = AF_PACKET;
        to.sll_ifindex = space->taps()[0].index;
        ASSERT_GT(::sendto(wire.get(), frame.data(), frame.size(), 0,
                           reinterpret_cast<sockaddr*>(&to), sizeof to),
                  0);
    }
    /// What find_taps() would find.
    [[nodiscard]] std::vector<Tap> taps() const {
        auto socket = PacketSocket::open(space->network_namespace(), space->taps()[0].name,
                                         PacketSocket::Receives::sent_to, *parse_mac(vm_mac));
        EXPECT_TRUE(socket) << socket.error().message;
        std::vector<Tap> taps;
        taps.push_back({vm_mac, *std::move(socket), space->taps()[0].name,
                        UniqueFd(::dup(space->network_namespace()))});
        return taps;
    }
    /// What the VM reads, without its virtio header; empty if nothing comes in time.
    [[nodiscard]] std::vector<std::byte> read_tap(Deadline deadline) const {
        std::vector<std::byte> packet(max_packet);
        if (!wait_readable(tap, deadline).value())
            return {};
        const ssize_t size = ::read(tap, packet.data(), packet.size());
        if (size < static_cast<ssize_t>(virtio_header))
            return {};
        return {packet.begin() + virtio_header, packet.begin() + size};
    }
    void drain_tap() const {
        while (!read_tap(std::chrono::milliseconds(0)).empty()) {
        }
    }
};

class TwoHosts : public testing::Test {
  protected:
    explicit TwoHosts(peer::ChannelId channel) : id_(channel) {}
    void SetUp() override {
        destination.create();
        source.create();
        far = peer::Channels::create({.end = peer::End::destination, .dial = {}}).value();
        near = peer::Channels::create({.end = peer::End::source,
                                       .dial = [this](auto id, bool, auto) { return dial(id); }})
                   .value();
        ASSERT_TRUE(near->open(std::array{id_}, soon));
    }
    void TearDown() override {
        near.reset();
        for (std::thread& thread : there)
            thread.join();
        far.reset();
    }
    Result<peer::Connection> dial(peer::ChannelId id) {
        std::array<int, 2> ends{};
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
            return fail_errno(errno, "socketpair");
        there.emplace_back([this, id, fd = ends[1]] {
            (void)far->attach(id, peer::Connection(UniqueFd(fd)), soon);
        });
        return peer::Connection(UniqueFd(ends[0]));
    }
    peer::Channel& at_source() { return (*near)[id_]; }
    peer::Channel& at_destination() { return (*far)[id_]; }

    static constexpr std::chrono::seconds soon{5};
    Host destination, source;
    std::vector<std::thread> there;
    std::shared_ptr<peer::Channels> near, far;

  private:
    peer::ChannelId id_;
};

}  // namespace gc::mirror

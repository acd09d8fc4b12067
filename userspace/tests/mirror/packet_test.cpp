// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/packet.h"

#include "frames.h"
#include "mirror/packet_socket.h"

#include <cstring>
#include <gtest/gtest.h>

namespace gc::mirror {
namespace {

constexpr std::array<std::uint8_t, 2> versions{4, 6};

std::optional<Segment> parsed(const Packet& packet) {
    const auto bytes = packet.bytes();
    return parse(3, std::span(bytes).subspan(virtio_header), packet.from);
}

TEST(Packet, IsParsedFromBothEnds) {
    const auto client = parsed({.sequence = 100, .acknowledged = 7, .payload = 50});
    const auto vm = parsed({.from = From::vm, .sequence = 7, .acknowledged = 150});
    ASSERT_TRUE(client && vm);
    EXPECT_EQ(client->flow, vm->flow);
    EXPECT_EQ(client->flow.nic, 3);
    EXPECT_EQ(client->flow.client_port, 40000);
    EXPECT_EQ(client->flow.vm_port, 6379);
    EXPECT_EQ(client->end(), 150U);
    EXPECT_EQ(client->acknowledged, 7U);
    EXPECT_TRUE(client->ack && client->occupies());
    EXPECT_FALSE(vm->occupies());
}

TEST(Packet, SynAndFinTakeASequenceNumberEach) {
    const auto segment = parsed({.sequence = 0xffffffff, .payload = 1, .flags = 0x03});
    ASSERT_TRUE(segment);
    EXPECT_TRUE(segment->syn && segment->fin && !segment->ack);
    EXPECT_EQ(segment->end(), 2U);
}

TEST(Packet, IsFoundBehindTagsAndExtensions) {
    for (const std::uint8_t version : versions)
        for (const auto& tags : std::vector<std::vector<std::uint16_t>>{{}, {5}, {5, 6}})
            for (const bool extension : {false, true}) {
                if (version == 4 && extension)
                    continue;
                const auto segment = parsed(
                    {.version = version, .payload = 9, .tags = tags, .extension = extension});
                ASSERT_TRUE(segment);
                EXPECT_EQ(segment->payload, 9U);
                EXPECT_EQ(segment->flow.vlan, tags.empty()       ? 0U
                                              : tags.size() == 1 ? 5U
                                                                 : 5U << 16 | 6U);
            }
    EXPECT_FALSE(parsed({.tags = {1, 2, 3}}));
}

TEST(Packet, OfAnotherProtocolOrInFragmentsIsNoSegment) {
    EXPECT_FALSE(parsed({.protocol = 17}));
    EXPECT_FALSE(parsed({.version = 6, .protocol = 17}));
    EXPECT_FALSE(parsed({.fragment = 0x2000}));  // more follow
    EXPECT_FALSE(parsed({.fragment = 100}));
    EXPECT_TRUE(parsed({.fragment = 0x4000}));  // do not fragment
}

TEST(Packet, ThatIsCutOffIsNoSegment) {
    for (const std::uint8_t version : versions) {
        const auto bytes = Packet{.version = version, .payload = 5, .tags = {1}}.bytes();
        const auto frame = std::span(bytes).subspan(virtio_header);
        const std::size_t headers = frame.size() - 5;
        for (std::size_t size = 0; size < headers; ++size)
            EXPECT_FALSE(parse(0, frame.first(size), From::client)) << size;
        // The payload's size is in the IP header.
        EXPECT_EQ(parse(0, frame.first(headers), From::client)->payload, 5U);
    }
}

TEST(Packet, KeepsARightChecksum) {
    for (const std::uint8_t version : versions)
        for (const bool partial : {false, true})
            for (const std::uint32_t to :
                 {0U, 1U, 0xffffU, 0x10000U, 0xfffffffeU, 0xffffffffU, 77U}) {
                auto bytes = Packet{.version = version,
                                    .sequence = 5,
                                    .acknowledged = 77,
                                    .payload = 33,
                                    .partial = partial}
                                 .bytes();
                auto segment = *parse(0, std::span(bytes).subspan(virtio_header), From::client);
                ASSERT_TRUE(has_right_checksum(bytes, segment));
                set_acknowledged(bytes, segment, to);
                segment = *parse(0, std::span(bytes).subspan(virtio_header), From::client);
                EXPECT_EQ(segment.acknowledged, to);
                EXPECT_TRUE(has_right_checksum(bytes, segment))
                    << to << (partial ? " partial" : "");
            }
}

TEST(Packet, GetsItsTagBack) {
    const Packet with{.payload = 3, .tags = {7}};
    auto bytes = Packet{.payload = 3, .partial = true}.bytes();
    std::uint16_t start = 34;
    std::memcpy(bytes.data() + 6, &start, sizeof start);
    const std::size_t size = bytes.size();
    bytes.resize(size + tag_size);
    insert_tag(bytes, size, 0x8100, 7);
    std::memcpy(&start, bytes.data() + 6, sizeof start);
    EXPECT_EQ(start, 38);
    const auto frame = [](const std::vector<std::byte>& packet) {
        return std::vector(packet.begin() + virtio_header, packet.end() - 3 - 4);
    };
    EXPECT_EQ(parse(0, std::span(bytes).subspan(virtio_header), From::client)->flow.vlan, 7U);
    EXPECT_EQ(frame(bytes).size(), frame(with.bytes()).size());
}

TEST(Mac, IsReadAndRefused) {
    const auto mac = parse_mac("52:54:00:Ab:cD:01");
    ASSERT_TRUE(mac);
    EXPECT_EQ((*mac)[3], std::byte{0xab});
    EXPECT_EQ((*mac)[4], std::byte{0xcd});
    for (const auto* text :
         {"", "52:54:00:12:34", "52:54:00:12:34:5g", "52-54-00-12-34-56", "52:54:00:12:34:567"})
        EXPECT_FALSE(parse_mac(text)) << text;
}

}  // namespace
}  // namespace gc::mirror

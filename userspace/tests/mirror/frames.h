// SPDX-License-Identifier: GPL-2.0-or-later
// Packets for the tests of the mirror, and a checksum of their own.
#pragma once

#include "mirror/packet.h"

#include <cstdint>
#include <vector>

namespace gc::mirror {

struct Packet {
    std::uint8_t version = 4;
    From from = From::client;
    std::uint32_t sequence = 0;
    std::uint32_t acknowledged = 0;
    std::size_t payload = 0;
    std::uint8_t flags = 0x10;   ///< ACK
    std::uint16_t port = 40000;  ///< the client's
    std::vector<std::uint16_t> tags = {};
    bool partial = false;    ///< the checksum is that of the pseudo-header
    bool extension = false;  ///< with IPv6: destination options before TCP
    std::uint8_t protocol = 6;
    std::uint16_t fragment = 0;

    /// With a virtio header.
    [[nodiscard]] std::vector<std::byte> bytes() const;
};

/// Whether the TCP checksum of a packet is right, or with `partial` that of the pseudo-header.
[[nodiscard]] bool has_right_checksum(std::span<const std::byte> packet, const Segment& segment);

}  // namespace gc::mirror

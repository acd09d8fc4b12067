// SPDX-License-Identifier: GPL-2.0-or-later
// Ethernet frames of a NIC, each behind the header that virtio and packet sockets put before it.
// Parses what a mirror has to know of TCP, and rewrites an acknowledgement. No I/O.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace gc::mirror {

/// struct virtio_net_hdr (linux/virtio_net.h), in the byte order of the host.
inline constexpr std::size_t virtio_header = 10;
/// A GSO packet of 64 KiB, with two VLAN tags, behind its header.
inline constexpr std::size_t max_packet = virtio_header + 65535 + 14 + 8;
/// Enough of a frame to find its TCP header: Ethernet, two tags, IPv6 with options, TCP.
inline constexpr std::size_t max_headers = 192;

/// A TCP connection, as seen from the VM.
struct Flow {
    std::uint16_t nic = 0;
    std::uint32_t vlan = 0;  ///< outer id above the inner one; 0 without tags
    std::uint8_t version = 4;
    std::array<std::byte, 16> client{};
    std::array<std::byte, 16> vm{};
    std::uint16_t client_port = 0;
    std::uint16_t vm_port = 0;
    auto operator<=>(const Flow&) const = default;  // NOLINT(modernize-use-nullptr): a false alarm
};

/// Who sent a packet.
enum class From : bool { client, vm };

struct Segment {
    Flow flow;
    std::size_t tcp = 0;      ///< position of the TCP header in the frame
    std::size_t payload = 0;  ///< bytes, as the IP header says
    std::uint32_t sequence = 0;
    std::uint32_t acknowledged = 0;
    bool syn = false, ack = false, fin = false, rst = false;

    /// What it takes of the sequence: the sequence number after it.
    [[nodiscard]] std::uint32_t end() const {
        return sequence + static_cast<std::uint32_t>(payload) + (syn ? 1 : 0) + (fin ? 1 : 0);
    }
    [[nodiscard]] bool occupies() const { return end() != sequence; }
};

/// Sequence numbers wrap.
[[nodiscard]] inline bool after(std::uint32_t a, std::uint32_t b) {
    return static_cast<std::int32_t>(a - b) > 0;
}

/// @param frame without its virtio header; may end anywhere behind the TCP header
/// @return nullopt for everything that is not TCP, for fragments and for malformed frames
[[nodiscard]] std::optional<Segment> parse(std::uint16_t nic, std::span<const std::byte> frame,
                                           From from);

/// The Ethernet address that a packet is for; empty if there is none.
/// @param packet with its virtio header. Any bytes.
[[nodiscard]] std::span<const std::byte> destination_of(std::span<const std::byte> packet);

/// Sets the acknowledgement and keeps the checksum right.
/// @param packet with its virtio header
/// @param segment of the same packet
void set_acknowledged(std::span<std::byte> packet, const Segment& segment, std::uint32_t to);

/// Puts a VLAN tag into the frame that the kernel has taken out of it.
/// @param packet with its virtio header, and `tag_size` bytes of room behind it
/// @param size of the packet without the room
void insert_tag(std::span<std::byte> packet, std::size_t size, std::uint16_t protocol,
                std::uint16_t tag);
inline constexpr std::size_t tag_size = 4;

}  // namespace gc::mirror

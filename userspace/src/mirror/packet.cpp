// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/packet.h"

#include <algorithm>
#include <cstring>

namespace gc::mirror {
namespace {

constexpr std::size_t ethernet_header = 14, addresses_size = 12;
constexpr std::uint16_t type_ipv4 = 0x0800, type_ipv6 = 0x86dd, type_vlan = 0x8100,
                        type_service_vlan = 0x88a8;
constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t needs_checksum = 1;  // VIRTIO_NET_HDR_F_NEEDS_CSUM
constexpr std::size_t min_tcp = 20;

std::uint8_t get8(std::span<const std::byte> bytes, std::size_t at) {
    return std::to_integer<std::uint8_t>(bytes[at]);
}

std::uint16_t get16(std::span<const std::byte> bytes, std::size_t at) {
    return static_cast<std::uint16_t>(get8(bytes, at) << 8 | get8(bytes, at + 1));
}

std::uint32_t get32(std::span<const std::byte> bytes, std::size_t at) {
    return static_cast<std::uint32_t>(get16(bytes, at)) << 16 | get16(bytes, at + 2);
}

void put16(std::span<std::byte> bytes, std::size_t at, std::uint16_t value) {
    bytes[at] = static_cast<std::byte>(value >> 8);
    bytes[at + 1] = static_cast<std::byte>(value & 0xff);
}

/// Where TCP begins and how many bytes it has, by the IP header.
struct Inside {
    std::size_t at = 0;
    std::size_t size = 0;
};

void set_addresses(Flow& flow, std::span<const std::byte> source,
                   std::span<const std::byte> destination, From from) {
    const bool client = from == From::client;
    std::ranges::copy(source, (client ? flow.client : flow.vm).begin());
    std::ranges::copy(destination, (client ? flow.vm : flow.client).begin());
}

std::optional<Inside> parse_ipv4(std::span<const std::byte> frame, std::size_t at, From from,
                                 Flow& flow) {
    constexpr std::size_t min_header = 20;
    constexpr std::uint16_t fragment = 0x3fff;  // more fragments, or an offset
    if (frame.size() < at + min_header || get8(frame, at) >> 4 != 4)
        return std::nullopt;
    const std::size_t header = std::size_t{4} * (get8(frame, at) & 0xf);
    const std::size_t total = get16(frame, at + 2);
    if (header < min_header || total < header || (get16(frame, at + 6) & fragment) != 0 ||
        get8(frame, at + 9) != protocol_tcp)
        return std::nullopt;
    flow.version = 4;
    set_addresses(flow, frame.subspan(at + 12, 4), frame.subspan(at + 16, 4), from);
    return Inside{at + header, total - header};
}

std::optional<Inside> parse_ipv6(std::span<const std::byte> frame, std::size_t at, From from,
                                 Flow& flow) {
    constexpr std::size_t header = 40;
    constexpr std::uint8_t hop_by_hop = 0, routing = 43, options = 60;
    if (frame.size() < at + header || get8(frame, at) >> 4 != 6)
        return std::nullopt;
    flow.version = 6;
    set_addresses(flow, frame.subspan(at + 8, 16), frame.subspan(at + 24, 16), from);
    std::uint8_t next = get8(frame, at + 6);
    Inside inside{at + header, get16(frame, at + 4)};
    while (next == hop_by_hop || next == routing || next == options) {
        if (frame.size() < inside.at + 8)
            return std::nullopt;
        next = get8(frame, inside.at);
        const std::size_t extension = std::size_t{8} * (1 + get8(frame, inside.at + 1));
        if (extension > inside.size)
            return std::nullopt;
        inside.at += extension;
        inside.size -= extension;
    }
    return next == protocol_tcp ? std::optional(inside) : std::nullopt;
}

std::optional<Inside> parse_ip(std::span<const std::byte> frame, From from, Flow& flow) {
    if (frame.size() < ethernet_header)
        return std::nullopt;
    std::size_t at = ethernet_header;
    std::uint16_t type = get16(frame, addresses_size);
    for (int tags = 0; (type == type_vlan || type == type_service_vlan) && tags < 2; ++tags) {
        if (frame.size() < at + tag_size)
            return std::nullopt;
        flow.vlan = flow.vlan << 16 | (get16(frame, at) & 0x0fffU);
        type = get16(frame, at + 2);
        at += tag_size;
    }
    if (type == type_ipv4)
        return parse_ipv4(frame, at, from, flow);
    return type == type_ipv6 ? parse_ipv6(frame, at, from, flow) : std::nullopt;
}

}  // namespace

std::optional<Segment> parse(std::uint16_t nic, std::span<const std::byte> frame, From from) {
    Segment segment;
    segment.flow.nic = nic;
    const auto inside = parse_ip(frame, from, segment.flow);
    if (!inside || inside->size < min_tcp || frame.size() < inside->at + min_tcp)
        return std::nullopt;
    const std::size_t at = segment.tcp = inside->at;
    const std::size_t header = std::size_t{4} * (get8(frame, at + 12) >> 4);
    if (header < min_tcp || header > inside->size)
        return std::nullopt;
    const bool client = from == From::client;
    segment.flow.client_port = get16(frame, at + (client ? 0 : 2));
    segment.flow.vm_port = get16(frame, at + (client ? 2 : 0));
    segment.sequence = get32(frame, at + 4);
    segment.acknowledged = get32(frame, at + 8);
    const std::uint8_t flags = get8(frame, at + 13);
    segment.fin = (flags & 0x01) != 0;
    segment.syn = (flags & 0x02) != 0;
    segment.rst = (flags & 0x04) != 0;
    segment.ack = (flags & 0x10) != 0;
    segment.payload = inside->size - header;
    return segment;
}

void set_acknowledged(std::span<std::byte> packet, const Segment& segment, std::uint32_t to) {
    const std::span<std::byte> tcp = packet.subspan(virtio_header + segment.tcp);
    const std::uint32_t was = get32(tcp, 8);
    put16(tcp, 8, static_cast<std::uint16_t>(to >> 16));
    put16(tcp, 10, static_cast<std::uint16_t>(to & 0xffff));
    // Then it is that of the pseudo-header only; the rest is added behind the packet's last hop.
    if ((get8(packet, 0) & needs_checksum) != 0)
        return;
    // RFC 1624, equation 3.
    std::uint32_t sum = static_cast<std::uint16_t>(~get16(tcp, 16));
    sum += static_cast<std::uint16_t>(~(was >> 16)) + static_cast<std::uint16_t>(~was);
    sum += (to >> 16) + (to & 0xffff);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    put16(tcp, 16, static_cast<std::uint16_t>(~sum));
}

std::span<const std::byte> destination_of(std::span<const std::byte> packet) {
    if (packet.size() < virtio_header + ethernet_header)
        return {};
    return packet.subspan(virtio_header, addresses_size / 2);
}

void insert_tag(std::span<std::byte> packet, std::size_t size, std::uint16_t protocol,
                std::uint16_t tag) {
    const std::size_t at = virtio_header + addresses_size;
    std::memmove(packet.data() + at + tag_size, packet.data() + at, size - at);
    put16(packet, at, protocol);
    put16(packet, at + 2, tag);
    // hdr_len and csum_start count from the frame's first byte.
    for (const std::size_t field : {std::size_t{2}, std::size_t{6}}) {
        std::uint16_t value = 0;
        std::memcpy(&value, packet.data() + field, sizeof value);
        if (value != 0)
            value = static_cast<std::uint16_t>(value + tag_size);
        std::memcpy(packet.data() + field, &value, sizeof value);
    }
}

}  // namespace gc::mirror

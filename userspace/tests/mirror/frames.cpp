// SPDX-License-Identifier: GPL-2.0-or-later
#include "frames.h"

#include <algorithm>

namespace gc::mirror {
namespace {

constexpr std::size_t tcp_size = 20;

void put16(std::vector<std::byte>& to, std::uint32_t value) {
    to.push_back(static_cast<std::byte>(value >> 8 & 0xff));
    to.push_back(static_cast<std::byte>(value & 0xff));
}

void put32(std::vector<std::byte>& to, std::uint32_t value) {
    put16(to, value >> 16);
    put16(to, value & 0xffff);
}

std::uint16_t sum_of(std::span<const std::byte> bytes, std::uint32_t start) {
    std::uint32_t sum = start;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        sum += std::to_integer<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

/// Of addresses, protocol and length, neither inverted.
std::uint16_t pseudo_sum(const Segment& segment, std::size_t tcp_length) {
    const std::size_t size = segment.flow.version == 4 ? 4 : 16;
    std::uint32_t sum = sum_of(std::span(segment.flow.client).first(size), 0);
    sum = sum_of(std::span(segment.flow.vm).first(size), sum);
    return sum_of({}, sum + 6 + static_cast<std::uint32_t>(tcp_length));
}

}  // namespace

std::vector<std::byte> Packet::bytes() const {
    std::vector<std::byte> made(virtio_header);
    if (partial)
        made[0] = std::byte{1};
    made.insert(made.end(), 12, std::byte{0x52});
    for (const std::uint16_t tag : tags) {
        put16(made, 0x8100);
        put16(made, tag);
    }
    put16(made, version == 4 ? 0x0800 : 0x86dd);
    const std::size_t length = (extension ? 8 : 0) + tcp_size + payload;
    const bool client = from == From::client;
    if (version == 4) {
        put16(made, 0x4500);
        put16(made, static_cast<std::uint32_t>(20 + length));
        put16(made, 0);
        put16(made, fragment);
        put16(made, 64U << 8 | protocol);
        put16(made, 0);
        put32(made, client ? 0x0a000001 : 0x0a000002);
        put32(made, client ? 0x0a000002 : 0x0a000001);
    } else {
        put32(made, 0x60000000);
        put16(made, static_cast<std::uint32_t>(length));
        put16(made, (extension ? 60U : protocol) << 8 | 64);
        for (const std::uint32_t last : {client ? 1U : 2U, client ? 2U : 1U}) {
            put32(made, 0xfd000000);
            put32(made, 0);
            put32(made, 0);
            put32(made, last);
        }
        if (extension) {
            put32(made, std::uint32_t{protocol} << 24 | 0x00000104);
            put32(made, 0);
        }
    }
    const std::size_t tcp = made.size();
    put16(made, client ? port : 6379);
    put16(made, client ? 6379 : port);
    put32(made, sequence);
    put32(made, acknowledged);
    put16(made, 0x5000U | flags);
    put16(made, 500);
    put32(made, 0);
    for (std::size_t i = 0; i < payload; ++i)
        made.push_back(static_cast<std::byte>(i));
    if (const auto segment = parse(0, std::span(made).subspan(virtio_header), from)) {
        const std::uint16_t pseudo = pseudo_sum(*segment, made.size() - tcp);
        const auto sum = static_cast<std::uint16_t>(
            partial ? pseudo : ~sum_of(std::span(made).subspan(tcp), pseudo));
        made[tcp + 16] = static_cast<std::byte>(sum >> 8);
        made[tcp + 17] = static_cast<std::byte>(sum & 0xff);
    }
    return made;
}

bool has_right_checksum(std::span<const std::byte> packet, const Segment& segment) {
    const auto tcp = packet.subspan(virtio_header + segment.tcp);
    const std::uint16_t pseudo = pseudo_sum(segment, tcp.size());
    if (packet[0] == std::byte{1})
        return tcp[16] == static_cast<std::byte>(pseudo >> 8) &&
               tcp[17] == static_cast<std::byte>(pseudo & 0xff);
    return sum_of(tcp, pseudo) == 0xffff;
}

}  // namespace gc::mirror

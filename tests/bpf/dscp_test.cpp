// SPDX-License-Identifier: GPL-2.0-or-later
// The DSCP that a class' packets are given.
#include "shaper.h"

namespace gc::bpf::test {
namespace {

constexpr std::uint8_t le = 1, af41 = 34;

enum class Ip { v4, v6 };

struct Layout {
    std::string name;
    Ip ip;
    Bytes types;  ///< of the tags, then of the network layer
};

void put16(Bytes& data, std::size_t offset, std::uint32_t value) {
    data[offset] = static_cast<std::uint8_t>(value >> 8);
    data[offset + 1] = static_cast<std::uint8_t>(value);
}

/// Ones' complement sum: 0xffff over a header whose checksum is right.
std::uint32_t sum16(std::span<const std::uint8_t> header) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i + 1 < header.size(); i += 2)
        sum += static_cast<std::uint32_t>(header[i] << 8 | header[i + 1]);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

struct Frame {
    Bytes data;
    std::size_t network;
};

Frame frame(const Layout& layout, std::uint8_t traffic_class) {
    Frame made{.data = Bytes(12, 0x11), .network = 0};
    for (std::size_t i = 0; i < layout.types.size(); i += 2) {
        if (i > 0)
            made.data.insert(made.data.end(), {0x20, 0x05});  // the tag before
        made.data.insert(made.data.end(), {layout.types[i], layout.types[i + 1]});
    }
    made.network = made.data.size();
    made.data.resize(made.network + 60, 0xa5);
    std::uint8_t* ip = &made.data[made.network];
    if (layout.ip == Ip::v4) {
        ip[0] = 0x45;
        ip[1] = traffic_class;
        put16(made.data, made.network + 10, 0);
        put16(made.data, made.network + 10,
              ~sum16(std::span(made.data).subspan(made.network, 20)) & 0xffff);
    } else {
        ip[0] = static_cast<std::uint8_t>(0x60 | traffic_class >> 4);
        ip[1] = static_cast<std::uint8_t>(traffic_class << 4 | 0x5);
    }
    return made;
}

struct Dscp : Shaper, testing::WithParamInterface<Layout> {
    void set_dscp(std::uint8_t dscp) {
        for (gc_class_config& one : config_.classes)
            one.dscp = dscp;
        set(config_);
    }
};

TEST_P(Dscp, IsWrittenAndEcnAndAllElseStays) {
    for (unsigned index = 0; index < GC_CLASSES; ++index) {
        for (unsigned was = 0; was < 256; was += 37) {
            set_dscp(index == GC_URGENT ? af41 : le);
            const std::uint8_t dscp = index == GC_URGENT ? af41 : le;
            const Frame before = frame(GetParam(), static_cast<std::uint8_t>(was));
            const Frame after = frame(GetParam(), static_cast<std::uint8_t>(dscp << 2 | (was & 3)));
            const Passed passed =
                send({.mark = mark + index, .data = before.data, .wire_len = 3000, .gso_segs = 2});
            EXPECT_EQ(passed.data, after.data) << "traffic class was " << was;
            if (GetParam().ip == Ip::v4) {
                EXPECT_EQ(sum16(std::span(passed.data).subspan(after.network, 20)), 0xffffU);
            }
        }
    }
}

TEST_P(Dscp, IsKeptWhereThePolicySaysSoAndOfTenants) {
    const Frame before = frame(GetParam(), 0xb9);
    for (const std::uint8_t none : {std::uint8_t{GC_DSCP_KEEP}, std::uint8_t{64}}) {
        set_dscp(none);
        EXPECT_EQ(send({.mark = mark, .data = before.data}).data, before.data);
    }
    set_dscp(le);
    EXPECT_EQ(send({.mark = no_mark, .data = before.data}).data, before.data);
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, Dscp,
    testing::Values(Layout{"IPv4", Ip::v4, {0x08, 0x00}}, Layout{"IPv6", Ip::v6, {0x86, 0xdd}},
                    Layout{"VlanIPv4", Ip::v4, {0x81, 0x00, 0x08, 0x00}},
                    Layout{"VlanIPv6", Ip::v6, {0x81, 0x00, 0x86, 0xdd}},
                    Layout{"QinQIPv4", Ip::v4, {0x88, 0xa8, 0x81, 0x00, 0x08, 0x00}},
                    Layout{"QinQIPv6", Ip::v6, {0x88, 0xa8, 0x81, 0x00, 0x86, 0xdd}}),
    [](const auto& layout) { return layout.param.name; });

}  // namespace
}  // namespace gc::bpf::test

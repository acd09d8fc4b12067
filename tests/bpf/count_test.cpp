// SPDX-License-Identifier: GPL-2.0-or-later
// Which class a packet is of, and what it counts as.
#include "shaper.h"

namespace gc::bpf::test {
namespace {

TEST_F(Shaper, EachMarkIsAClassAndAllOthersAreTenants) {
    for (unsigned index = 0; index < GC_CLASSES; ++index) {
        EXPECT_EQ(send({.mark = mark + index, .repeat = static_cast<int>(index) + 1}).verdict,
                  go_on);
        EXPECT_EQ(stats(index).packets, index + 1);
    }
    for (const std::uint32_t other : {0U, 1U, mark - 1, mark + GC_CLASSES, ~0U})
        EXPECT_EQ(send({.mark = other}).verdict, go_on);
    EXPECT_EQ(stats(GC_TENANTS).packets, 5);
    EXPECT_EQ(stats(GC_TENANTS).bytes, 5 * 64);
}

TEST_F(Shaper, MarksMayWrapAround) {
    config_.mark = ~0U;
    set(config_);
    send({.mark = 2});
    EXPECT_EQ(stats(GC_BACKGROUND).packets, 1);
}

TEST_F(Shaper, GsoPacketsCountAsTheirSegments) {
    for (const unsigned index : {0U, 3U, 4U}) {
        send({.mark = mark + index, .wire_len = 65000, .gso_segs = 44});
        EXPECT_EQ(stats(index).packets, 44);
        EXPECT_EQ(stats(index).bytes, 65000);
    }
}

TEST_F(Shaper, TenantsAreNeitherDelayedNorMeasuredNorDropped) {
    for (unsigned index = 0; index < GC_CLASSES; ++index)
        set_next(index, now() + 100 * second);
    const Passed passed = send({.wire_len = 65000, .departure = 7, .repeat = 1000});
    EXPECT_EQ(passed.verdict, go_on);
    EXPECT_EQ(passed.departure, 7);
    EXPECT_EQ(stats(GC_TENANTS).delayed, 0);
    EXPECT_EQ(stats(GC_TENANTS).drops, 0);
    EXPECT_EQ(window().start, 0);
}

TEST_F(Shaper, WithoutAPolicyAllAreTenants) {
    set({});
    EXPECT_EQ(send({.mark = 0, .wire_len = 65000, .repeat = 100}).departure, 0);
    EXPECT_EQ(send({.mark = 3, .wire_len = 65000, .repeat = 100}).departure, 0);
    EXPECT_EQ(stats(GC_TENANTS).packets, 200);
}

}  // namespace
}  // namespace gc::bpf::test

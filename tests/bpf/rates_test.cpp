// SPDX-License-Identifier: GPL-2.0-or-later
// What is measured, and what it leaves to the paced classes. A window that began long ago is
// written into the map; how long it then was, its end tells.
#include "shaper.h"

namespace gc::bpf::test {
namespace {

constexpr std::uint64_t target = 1'000'000'000;

class Rates : public Shaper {
  protected:
    Rates() {
        config_.target = target;
        config_.flags = GC_YIELD;
        config_.decay_ns = 0;
        for (gc_class_config& one : config_.classes) {
            one.floor = 1000;
            one.cap = 2 * target;
        }
        set(config_);
        send(GC_BACKGROUND);  // the first window
    }

    /// Sends, in a window that began so long ago, and ends it. Returns its length.
    std::uint64_t in_window(std::uint64_t ns, const std::vector<Packet>& packets) {
        config_.window_ns = 3600 * second;
        set(config_);
        for (const Packet& packet : packets)
            send(packet);
        Window changed = window();
        changed.start = now() - ns;
        set_window(changed);
        config_.window_ns = 1;
        set(config_);
        send(GC_BACKGROUND);
        return window().start - changed.start;
    }
    static std::uint64_t per_second(std::uint64_t bytes, std::uint64_t ns) {
        return bytes * 1'000'000 / (ns / 1000 + 1);
    }
};

const Packet tenants = {.mark = no_mark, .wire_len = 50000, .repeat = 1000};

TEST_F(Rates, TenantsThatAppearAreMadeRoomForWithinAWindow) {
    in_window(second / 10, {});
    EXPECT_EQ(rate(GC_BACKGROUND), target);
    const std::uint64_t length = in_window(second / 10, {tenants});
    ASSERT_LT(length, second);
    const std::uint64_t measured = per_second(50'000'000, length);
    EXPECT_EQ(rate(GC_TENANTS), measured);
    EXPECT_EQ(rate(GC_BACKGROUND), target - measured);
}

TEST_F(Rates, HeadroomIsLeftForThemToGrow) {
    config_.headroom = 256;
    const std::uint64_t length = in_window(second / 10, {tenants});
    const std::uint64_t measured = per_second(50'000'000, length);
    EXPECT_EQ(rate(GC_BACKGROUND), target - measured - measured / 1024 * 256);
}

TEST_F(Rates, WithoutYieldTenantsTakeNothing) {
    config_.flags = 0;
    in_window(second / 10, {tenants});
    EXPECT_GT(rate(GC_TENANTS), 0);
    EXPECT_EQ(rate(GC_BACKGROUND), target);
}

TEST_F(Rates, WhereTenantsLeaveNothingTheFloorRemains) {
    in_window(second / 100, {{.mark = no_mark, .wire_len = 65000, .repeat = 100'000}});
    EXPECT_EQ(rate(GC_BACKGROUND), 1000);
}

TEST_F(Rates, TheCapHolds) {
    config_.classes[GC_BACKGROUND].cap = 12345;
    in_window(second / 10, {});
    EXPECT_EQ(rate(GC_BACKGROUND), 12345);
}

TEST_F(Rates, UnpacedClassesAreTakenOff) {
    const std::uint64_t length =
        in_window(second / 10, {{.mark = mark + GC_URGENT, .wire_len = 50000, .repeat = 1000}});
    EXPECT_EQ(rate(GC_URGENT), per_second(50'000'000, length));
    EXPECT_EQ(rate(GC_BACKGROUND), target - rate(GC_URGENT));
}

TEST_F(Rates, ThoseThatSendMuchShareByWeight) {
    config_.classes[GC_GUIDE].weight = 3;
    in_window(second / 100, {{.mark = mark + GC_GUIDE, .wire_len = 65000, .repeat = 1000},
                             {.mark = mark + GC_BACKGROUND, .wire_len = 65000, .repeat = 1000}});
    EXPECT_EQ(rate(GC_GUIDE), target * 3 / 4);
    EXPECT_EQ(rate(GC_BACKGROUND), target / 4);
    EXPECT_EQ(rate(GC_WARM), target / 5) << "its share when it begins to send";
}

TEST_F(Rates, WhatOneDoesNotUseTheOtherHas) {
    in_window(second / 10, {{.mark = mark + GC_GUIDE, .wire_len = 1000, .repeat = 10},
                            {.mark = mark + GC_BACKGROUND, .wire_len = 65000, .repeat = 2000}});
    EXPECT_EQ(rate(GC_BACKGROUND), target - window().estimates[GC_GUIDE]);
    EXPECT_GT(rate(GC_BACKGROUND), target * 9 / 10);
}

TEST_F(Rates, ARateThatFallsIsForgottenLittleByLittle) {
    in_window(second / 10, {tenants});
    const std::uint64_t high = rate(GC_TENANTS);
    config_.decay_ns = 200 * second;
    in_window(2 * second, {});
    EXPECT_LT(rate(GC_TENANTS), high);
    EXPECT_GT(rate(GC_TENANTS), high / 2);
    config_.decay_ns = second;
    in_window(2 * second, {});
    EXPECT_EQ(rate(GC_TENANTS), 0);
}

TEST_F(Rates, OneThatRisesIsBelievedAtOnce) {
    config_.decay_ns = 200 * second;
    const std::uint64_t length = in_window(second / 10, {tenants});
    EXPECT_EQ(rate(GC_TENANTS), per_second(50'000'000, length));
}

TEST_F(Rates, WhoMeasuresKeepsOthersFromIt) {
    Window changed = window();
    changed.busy = 1;
    set_window(changed);
    send(GC_BACKGROUND);
    EXPECT_EQ(window().start, changed.start);
}

}  // namespace
}  // namespace gc::bpf::test

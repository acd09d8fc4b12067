// SPDX-License-Identifier: GPL-2.0-or-later
// Departure times. The clock is real: what is compared are times that packets were given one after
// another while others waited (set_next), never how long something took.
#include "shaper.h"

#include <thread>

namespace gc::bpf::test {
namespace {

TEST_F(Shaper, FirstPacketLeavesAtOnce) {
    EXPECT_EQ(send(GC_BACKGROUND, 65000).departure, 0);
    EXPECT_EQ(stats(GC_BACKGROUND).delayed, 0);
}

TEST_F(Shaper, AClassOfNoWeightIsNotDelayed) {
    set_next(GC_URGENT, now() + 5 * second);
    EXPECT_EQ(send({.mark = mark + GC_URGENT, .wire_len = 65000, .repeat = 1000}).departure, 0);
    EXPECT_EQ(stats(GC_URGENT).delayed, 0);
}

TEST_F(Shaper, EachClassWaitsForItsOwnPacketsOnly) {
    const std::uint64_t later = now() + 5 * second;
    set_next(GC_GUIDE, later);
    EXPECT_EQ(send(GC_GUIDE, 65000).departure, later);
    EXPECT_EQ(send(GC_WARM, 65000).departure, 0);
    EXPECT_EQ(send(GC_BACKGROUND, 65000).departure, 0);
    EXPECT_EQ(send(GC_GUIDE).departure, later + 65000) << "1 GB/s: a byte a ns";
    EXPECT_EQ(stats(GC_GUIDE).delayed, 2);
    EXPECT_LE(stats(GC_GUIDE).delay_max_ns, stats(GC_GUIDE).delay_ns);
    EXPECT_LE(stats(GC_GUIDE).delay_max_ns, 5 * second + 65000);
}

TEST_F(Shaper, ADepartureTimeOfTcpThatIsLaterStays) {
    const std::uint64_t later = now() + 5 * second;
    EXPECT_EQ(send({.mark = mark + GC_GUIDE, .departure = later}).departure, later);
    EXPECT_EQ(stats(GC_GUIDE).delayed, 0);
    set_next(GC_GUIDE, later);
    EXPECT_EQ(send({.mark = mark + GC_GUIDE, .departure = later - 5}).departure, later);
    EXPECT_EQ(stats(GC_GUIDE).delay_ns, 5) << "what we added to TCP's";
}

struct Arithmetic : Shaper,
                    testing::WithParamInterface<std::tuple<std::uint64_t, std::uint32_t>> {};

/// The sum of many packets' times is bytes / rate; each may be wrong by half a tick, 1/32 ns.
TEST_P(Arithmetic, ManyPacketsTakeAsLongAsTheirBytes) {
    const auto [rate, wire_len] = GetParam();
    constexpr unsigned count = 300;
    for (gc_class_config& one : config_.classes)
        one.floor = one.cap = rate;
    config_.target = rate;
    set(config_);
    set_next(GC_BACKGROUND, now() + 6 * second);
    const std::uint64_t first = send(GC_BACKGROUND, wire_len).departure;
    std::uint64_t last = first;
    for (unsigned i = 0; i < count; ++i) {
        const std::uint64_t departure = send(GC_BACKGROUND, wire_len).departure;
        EXPECT_GE(departure, last);
        last = departure;
    }
    const double exact = 1e9 * count * wire_len / static_cast<double>(rate);
    EXPECT_NEAR(static_cast<double>(last - first), exact, 1 + count / 32.0);
}

// Bits per second, and no more bytes than 3 s take: what waits must stay within the horizon.
INSTANTIATE_TEST_SUITE_P(
    Rates, Arithmetic,
    testing::Values(std::tuple(1'250'000, 64), std::tuple(1'250'000, 1514),
                    std::tuple(125'000'000, 64), std::tuple(125'000'000, 1514),
                    std::tuple(125'000'000, 65535), std::tuple(1'250'000'000, 64),
                    std::tuple(1'250'000'000, 65535), std::tuple(12'500'000'000, 64),
                    std::tuple(12'500'000'000, 1514), std::tuple(12'500'000'000, 65535)));

TEST_F(Shaper, BeyondTheHorizonIsDroppedAndCountedAndTakesNoTime) {
    config_.horizon_ns = 2 * second;
    set(config_);
    set_next(GC_BACKGROUND, now() + 100 * second);
    const std::uint64_t before = next(GC_BACKGROUND);
    EXPECT_EQ(send({.mark = mark + GC_BACKGROUND, .wire_len = 65000, .gso_segs = 44}).verdict,
              drop);
    EXPECT_EQ(stats(GC_BACKGROUND).drops, 44);
    EXPECT_EQ(stats(GC_BACKGROUND).packets, 0);
    EXPECT_EQ(next(GC_BACKGROUND), before);
    EXPECT_EQ(send(GC_GUIDE).verdict, go_on);
}

TEST_F(Shaper, OnePacketTakesNoLongerThanHalfTheHorizon) {
    config_.horizon_ns = 2 * second;
    for (gc_class_config& one : config_.classes)
        one.floor = one.cap = 1;
    set(config_);
    const std::uint64_t later = now() + second;
    set_next(GC_BACKGROUND, later);
    EXPECT_EQ(send(GC_BACKGROUND, 65000).departure, later);
    EXPECT_EQ(next(GC_BACKGROUND), (later + second) * 16);
}

TEST_F(Shaper, WhileAnotherCpuDecidesTheFirstRatesPacketsLeaveAtOnce) {
    set_window({.busy = 1, .start = 0, .bytes = {}, .estimates = {}});
    EXPECT_EQ(send(GC_BACKGROUND, 1000).departure, 0);
    EXPECT_EQ(next(GC_BACKGROUND), 0) << "a rate of 0 would have taken the whole horizon";
    EXPECT_EQ(stats(GC_BACKGROUND).packets, 1);
    set_window({});
    send(GC_BACKGROUND, 1000);
    EXPECT_NE(next(GC_BACKGROUND), 0);
}

TEST_F(Shaper, CpusLoseNoReservation) {
    constexpr int threads = 4, packets = 2000, wire_len = 1000;
    send(GC_BACKGROUND);  // rates there are
    const std::uint64_t later = now() + 9 * second;
    set_next(GC_BACKGROUND, later);
    std::vector<std::thread> senders;
    for (int i = 0; i < threads; ++i)
        senders.emplace_back([this] {
            send({.mark = mark + GC_BACKGROUND, .wire_len = wire_len, .repeat = packets});
        });
    for (std::thread& sender : senders)
        sender.join();
    EXPECT_EQ(next(GC_BACKGROUND), (later + std::uint64_t{threads} * packets * wire_len) * 16);
    EXPECT_EQ(stats(GC_BACKGROUND).packets, 1 + threads * packets);
    EXPECT_EQ(window().busy, 0);
}

}  // namespace
}  // namespace gc::bpf::test

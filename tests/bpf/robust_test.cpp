// SPDX-License-Identifier: GPL-2.0-or-later
// Packets and policies as they should not be.
#include "shaper.h"

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>

namespace gc::bpf::test {
namespace {

class Robust : public Shaper {
  protected:
    Robust() { std::cout << "GC_STRESS_SEED=" << seed_ << std::endl; }

    std::uint64_t any(std::uint64_t least, std::uint64_t most) {
        return std::uniform_int_distribution<std::uint64_t>(least, most)(random_);
    }
    void fill(std::span<std::uint8_t> bytes) {
        for (std::uint8_t& byte : bytes)
            byte = static_cast<std::uint8_t>(any(0, 255));
    }

    static unsigned long seed_from_environment() {
        const char* text = std::getenv("GC_STRESS_SEED");
        return text != nullptr ? std::strtoul(text, nullptr, 10) : std::random_device{}();
    }

    const unsigned long seed_ = seed_from_environment();
    std::mt19937_64 random_{seed_};
};

/// An EtherType that is looked behind, and then what chance says, or nothing.
TEST_F(Robust, GarbageAndRuntsAreCountedByMarkAndNeitherDroppedNorCutNorLengthened) {
    constexpr std::array<std::uint16_t, 5> types = {0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806};
    constexpr unsigned count = 3000;
    for (gc_class_config& one : config_.classes)
        one.dscp = 1;
    set(config_);
    for (unsigned i = 0; i < count; ++i) {
        Bytes data(any(54, 80));  // of fewer, the kernel itself refuses some test runs
        fill(data);
        for (std::size_t offset = 12; offset + 1 < data.size() && any(0, 3) != 0; offset += 4) {
            const std::uint16_t type = types[any(0, types.size() - 1)];
            data[offset] = static_cast<std::uint8_t>(type >> 8);
            data[offset + 1] = static_cast<std::uint8_t>(type);
        }
        const Passed passed = send({.mark = mark + GC_WARM, .data = data});
        ASSERT_EQ(passed.verdict, go_on);
        ASSERT_EQ(passed.data.size(), data.size());
        unsigned changed = 0;
        for (std::size_t j = 0; j < data.size(); ++j)
            changed += passed.data[j] != data[j] ? 1 : 0;
        ASSERT_LE(changed, 4U) << "two bytes of a header and its checksum";
    }
    EXPECT_EQ(stats(GC_WARM).packets, count);
}

TEST_F(Robust, PacketsThatEndBeforeTheHeaderStayAsTheyAre) {
    for (gc_class_config& one : config_.classes)
        one.dscp = 1;
    set(config_);
    for (std::size_t size = 34; size <= 42; ++size) {
        Bytes data(size);
        data[12] = data[16] = 0x81;
        data[20] = 0x08;
        data[22] = 0x45;
        const Bytes sent = send({.mark = mark + GC_WARM, .data = data}).data;
        EXPECT_EQ(sent == data, size < 42) << size << " bytes";
    }
}

TEST_F(Robust, AConfigOfZerosButItsVersionDropsNothing) {
    gc_policy_config config{};
    config.version = GC_POLICY_VERSION;
    for (const std::uint32_t weight : {0U, 1U}) {
        for (gc_class_config& one : config.classes)
            one.weight = weight;
        set(config);
        for (unsigned index = 0; index < GC_CLASSES; ++index)
            EXPECT_EQ(send({.mark = index, .wire_len = 65000, .repeat = 100}).verdict, go_on);
    }
}

/// Mixtures of policies, and what no policy would be: no packet is lost but to the horizon, and
/// that is counted.
TEST_F(Robust, ATornConfigLosesNothingUncounted) {
    std::uint64_t sent = 0, dropped = 0;
    for (unsigned i = 0; i < 2000; ++i) {
        std::array<std::uint8_t, sizeof(gc_policy_config)> raw{};
        std::memcpy(raw.data(), &config_, sizeof(config_));
        for (std::uint64_t n = any(0, 40); n > 0; --n)
            raw[any(4, raw.size() - 1)] = static_cast<std::uint8_t>(any(0, 1) * any(0, 255));
        gc_policy_config torn;
        std::memcpy(&torn, raw.data(), sizeof(torn));
        set(torn);
        const Passed passed = send({.mark = torn.mark + static_cast<std::uint32_t>(any(0, 4)),
                                    .wire_len = static_cast<std::uint32_t>(any(64, 65535))});
        ASSERT_THAT(passed.verdict, testing::AnyOf(go_on, drop));
        ++sent;
        dropped += passed.verdict == drop ? 1 : 0;
    }
    std::uint64_t packets = 0, drops = 0;
    for (unsigned index = 0; index < GC_COUNTERS; ++index) {
        packets += stats(index).packets;
        drops += stats(index).drops;
    }
    EXPECT_EQ(packets + drops, sent);
    EXPECT_EQ(drops, dropped);
}

}  // namespace
}  // namespace gc::bpf::test

// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/precopy.h"

#include <gtest/gtest.h>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;
using report::PrecopyEnd;

constexpr std::uint64_t one_mib = 1 << 20;
constexpr std::uint64_t link_rate = 100 * one_mib;  ///< of the link, per second

class PrecopyTest : public testing::Test {
  protected:
    PrecopyTest() { precopy.begin(start); }

    void limit(PrecopyLimits limits) {
        precopy = Precopy(limits);
        precopy.begin(start);
    }
    /// @param now since the start of pre-copy
    std::optional<PrecopyEnd> see(unsigned round, std::uint64_t left,
                                  std::chrono::milliseconds now) {
        const std::uint64_t sent = link_rate * static_cast<std::uint64_t>(now.count()) / 1000;
        return precopy.over(PrecopyProgress{round, left}, sent, start + now);
    }

    const Precopy::Clock::time_point start = Precopy::Clock::now();
    Precopy precopy{{.automatic = true}};
};

TEST_F(PrecopyTest, GoesOnAsLongAsRoundsPay) {
    EXPECT_FALSE(see(1, 1000 * one_mib, 0ms));
    EXPECT_FALSE(see(1, 500 * one_mib, 5s)) << "within a round nothing is known";
    EXPECT_FALSE(see(2, 400 * one_mib, 10s));
    EXPECT_FALSE(see(3, 200 * one_mib, 14s));
    EXPECT_EQ(see(4, 151 * one_mib, 16s), PrecopyEnd::no_gain);
    EXPECT_EQ(precopy.report().ended, PrecopyEnd::no_gain);
    EXPECT_EQ(precopy.report().rounds_ms, (std::vector<std::uint64_t>{0, 10000, 14000, 16000}));
    EXPECT_EQ(
        precopy.report().remaining_bytes,
        (std::vector<std::uint64_t>{1000 * one_mib, 400 * one_mib, 200 * one_mib, 151 * one_mib}));
}

TEST_F(PrecopyTest, AVmThatWritesEverythingHasOneRound) {
    EXPECT_FALSE(see(1, 1000 * one_mib, 0ms));
    EXPECT_EQ(see(2, 990 * one_mib, 10s), PrecopyEnd::no_gain);
}

TEST_F(PrecopyTest, EndsWhenLittleIsLeft) {
    EXPECT_FALSE(see(1, 1000 * one_mib, 0ms));
    EXPECT_FALSE(see(2, 6 * one_mib, 10s));
    EXPECT_EQ(see(3, 4 * one_mib, 11s), PrecopyEnd::little_left);
}

TEST_F(PrecopyTest, LimitsEndIt) {
    limit({.automatic = true, .time = 3s});
    EXPECT_FALSE(see(1, 1000 * one_mib, 2999ms));
    EXPECT_EQ(see(1, 1000 * one_mib, 3s), PrecopyEnd::time);

    limit({.automatic = true, .bytes = 200 * one_mib});
    EXPECT_FALSE(see(1, 1000 * one_mib, 1999ms));
    EXPECT_EQ(see(1, 1000 * one_mib, 2s), PrecopyEnd::bytes);

    limit({.automatic = true, .rounds = 1});
    EXPECT_FALSE(see(1, 1000 * one_mib, 0ms));
    EXPECT_EQ(see(2, 10 * one_mib, 10s), PrecopyEnd::rounds);
}

TEST_F(PrecopyTest, WithoutAutoOnlyLimitsEndIt) {
    limit({.rounds = 3});
    EXPECT_FALSE(see(1, 1000 * one_mib, 0ms));
    EXPECT_FALSE(see(2, 2000 * one_mib, 10s));
    EXPECT_FALSE(see(3, 0, 11s));
    EXPECT_EQ(see(5, 0, 12s), PrecopyEnd::rounds) << "a round may be missed";
}

TEST_F(PrecopyTest, BeforeTheFirstRoundOnlyTimeCounts) {
    EXPECT_FALSE(precopy.over(std::nullopt, 0, start + 1min));
    EXPECT_FALSE(see(0, 0, 1ms));
    EXPECT_TRUE(precopy.report().rounds_ms.empty());
}

TEST(PrecopyLimits, NoneMeansNoPrecopy) {
    EXPECT_FALSE(PrecopyLimits{}.any());
    EXPECT_TRUE(PrecopyLimits{.bytes = 1}.any());
    EXPECT_TRUE(PrecopyLimits{.automatic = true}.any());
}

}  // namespace
}  // namespace gc::migrate

// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/pacer.h"

#include <gtest/gtest.h>

namespace gc::transfer {
namespace {

using namespace std::chrono_literals;

TEST(Pacer, WithoutALimitNothingWaits) {
    Pacer pacer;
    pacer.spend(1 << 30, Pacer::Clock::time_point(1s));
    EXPECT_EQ(pacer.wait(Pacer::Clock::time_point(1s)), 0s);
}

TEST(Pacer, BytesTakeTheirTime) {
    Pacer pacer(1000);
    const Pacer::Clock::time_point begin(10s);
    pacer.spend(500, begin);
    EXPECT_EQ(pacer.wait(begin), 500ms);
    pacer.spend(500, begin);
    EXPECT_EQ(pacer.wait(begin + 400ms), 600ms);
    EXPECT_EQ(pacer.wait(begin + 2s), 0s);
}

TEST(Pacer, IdleTimeIsNotSavedUp) {
    Pacer pacer(1000);
    const Pacer::Clock::time_point begin(10s);
    pacer.spend(1, begin);
    pacer.spend(1000, begin + 100s);
    EXPECT_EQ(pacer.wait(begin + 100s), 1s);
}

}  // namespace
}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/deadline.h"

#include <gtest/gtest.h>
#include <thread>

namespace gc::util {
namespace {

using namespace std::chrono_literals;

TEST(Deadline, OfATimeoutStartsNow) {
    const Deadline deadline(1h);
    EXPECT_FALSE(deadline.expired());
    EXPECT_GT(deadline.left(), 59min);
    EXPECT_LE(deadline.left(), 1h);
}

TEST(Deadline, HasNoTimeLeftOnceExpired) {
    for (const Deadline deadline : {Deadline(0ms), Deadline(-1s)}) {
        EXPECT_TRUE(deadline.expired());
        EXPECT_EQ(deadline.left(), 0ms);
        EXPECT_EQ(deadline.left_ms(), 0);
    }
}

TEST(Deadline, RoundsTheTimeLeftUp) {
    const Deadline deadline(Deadline::Clock::now() + 100ms);
    while (!deadline.expired()) {
        const bool none_left = deadline.left_ms() == 0;
        EXPECT_TRUE(!none_left || deadline.expired()) << "poll(2) would return at once";
    }
}

TEST(Deadline, NeverExpires) {
    EXPECT_FALSE(Deadline::never().expired());
    EXPECT_EQ(Deadline::never().left_ms(), INT_MAX) << "the limit of poll(2)";
}

}  // namespace
}  // namespace gc::util

// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/unsent_limit.h"

#include <gtest/gtest.h>
#include <limits>

namespace gc::transfer {
namespace {

TEST(UnsentLimit, IsWhatThePathCarriesInItsTime) {
    EXPECT_EQ(unsent_limit(4'096'000), 4096 * static_cast<std::uint64_t>(unsent_time.count()));
}

TEST(UnsentLimit, IsWholePages) {
    EXPECT_EQ(unsent_limit(5'000'000) % page_size, 0U);
}

TEST(UnsentLimit, HasBounds) {
    EXPECT_EQ(unsent_limit(1), min_unsent);
    EXPECT_EQ(unsent_limit(std::numeric_limits<std::uint64_t>::max()), max_unsent);
}

TEST(UnsentLimit, IsTheMostWhereNothingIsKnown) {
    EXPECT_EQ(unsent_limit(0), max_unsent);
}

}  // namespace
}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/zero_runs.h"

#include <algorithm>
#include <gmock/gmock.h>

namespace gc::peer {
namespace {

using testing::HasSubstr;

const ZeroRuns sample{3, "pc.ram", {{0x100, 0x20}, {0x1'0000'0000, 1}}};

TEST(ZeroRuns, AreReadAsTheyWereWritten) {
    const auto bytes = encode(sample);
    EXPECT_EQ(bytes.size(), 4 + 1 + 6 + 2 * 16U);
    EXPECT_EQ(bytes[3], std::byte{3}) << "big-endian";
    EXPECT_EQ(bytes[4], std::byte{6});
    EXPECT_EQ(decode_zero_runs(bytes).value(), sample);
}

TEST(ZeroRuns, WhatIsCutIsRefused) {
    const auto bytes = encode(sample);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto cut = decode_zero_runs(std::span(bytes).first(size));
        if (size == bytes.size() - 16) {
            EXPECT_EQ(cut.value().runs.size(), 1U);
            continue;
        }
        ASSERT_FALSE(cut) << size;
        EXPECT_EQ(cut.error().kind, ErrorKind::protocol);
    }
}

TEST(ZeroRuns, ABlockHasAName) {
    auto bytes = encode(sample);
    bytes[4] = std::byte{0};
    EXPECT_THAT(decode_zero_runs(bytes).error().message, HasSubstr("does not name its RAM block"));
}

TEST(ZeroRuns, ARunHasAPage) {
    auto bytes = encode(sample);
    std::ranges::fill(std::span(bytes).last(8), std::byte{0});
    EXPECT_THAT(decode_zero_runs(bytes).error().message, HasSubstr("no zero pages"));
}

}  // namespace
}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
// Features of the writer that the recorded streams do not cover.
#include "stream/command.h"

#include "samples.h"

#include <algorithm>
#include <gtest/gtest.h>

namespace gc::stream {
namespace {

using samples::bytes;

TEST(Writer, IsBigEndian) {
    Buffer out;
    append_be16(out, 0x0102);
    append_be32(out, 0x03040506);
    append_be64(out, 0x0708090a0b0c0d0e);
    EXPECT_EQ(out, bytes({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}));
}

TEST(Writer, CutsNamesThatQemuCouldNotHave) {
    Buffer out;
    append_short_string(out, std::string(300, 'x'));
    EXPECT_EQ(out.size(), 1 + max_name);
    EXPECT_EQ(out.front(), std::byte{0xff});
}

TEST(Writer, PageHeadsNameTheirBlockOrGoOn) {
    Buffer out;
    append_page_head(out, 0x5000, "m", false);
    append_page_head(out, 0x6000, "", true);
    EXPECT_EQ(out, bytes({0, 0, 0, 0, 0, 0, 0x50, 0x08, 1, 'm',  //
                          0, 0, 0, 0, 0, 0, 0x60, 0x22, 0}));
}

TEST(Writer, DiscardsAsManyRangesAsThereAre) {
    for (const std::size_t count : {0U, 1U, 12U, 13U, 100U}) {
        std::vector<PageRange> ranges;
        for (std::uint64_t i = 0; i < count; ++i)
            ranges.push_back({3 * i, 1 + i % 2});
        Buffer out = samples::until_ram();
        append_end_of_ram(out);
        const std::size_t before = out.size();
        append_discard(out, "pc.ram", ranges);
        EXPECT_EQ(out.size() == before, count == 0);

        std::vector<PageRange> read;
        Reader reader;
        std::span<const std::byte> input = out;
        for (;;) {
            const auto item = reader.next(input);
            ASSERT_TRUE(item) << item.error().message;
            if (!*item)
                break;
            if (const auto* command = std::get_if<Command>(&**item)) {
                const auto discard = parse_discard(command->payload);
                ASSERT_TRUE(discard) << discard.error().message;
                EXPECT_EQ(discard->block, "pc.ram");
                read.insert(read.end(), discard->ranges.begin(), discard->ranges.end());
            }
        }
        EXPECT_TRUE(input.empty());
        EXPECT_TRUE(std::ranges::equal(read, ranges, [](const PageRange& a, const PageRange& b) {
            return a.first == b.first && a.count == b.count;
        }));
    }
}

}  // namespace
}  // namespace gc::stream

// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/record_scanner.h"

#include "../stream/append.h"

#include "stream/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gc::receive {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// What a scanner found, as "block:offset".
class Scanning : public testing::Test {
  protected:
    /// @param piece bytes a call
    Result<void> scan(RecordScanner::Start start, const stream::Buffer& bytes, std::size_t piece) {
        BlockIds blocks;
        found.clear();
        RecordScanner scanner(start, blocks, [&](BlockPage page) {
            found.push_back(fmt::format("{}:{:x}", blocks.name(page.block), page.offset));
        });
        for (std::span<const std::byte> rest = bytes; !rest.empty();) {
            const auto now = rest.first(std::min(piece, rest.size()));
            GC_CHECK(scanner.feed(now));
            rest = rest.subspan(now.size());
        }
        return {};
    }
    std::string error(RecordScanner::Start start, const stream::Buffer& bytes) {
        const auto scanned = scan(start, bytes, SIZE_MAX);
        return scanned ? "" : scanned.error().message;
    }

    std::vector<std::string> found;
};

void append_page(stream::Buffer& out, std::uint64_t offset, std::string_view block, bool zero) {
    stream::append_page_head(out, offset, block, zero);
    // The bytes of a page look like records that must not be found.
    if (!zero)
        for (std::size_t i = 0; i < stream::target_page / 8; ++i)
            stream::append_be64(out, stream::ram_eos);
}

stream::Buffer two_sections() {
    stream::Buffer out;
    for (const std::string_view block : {"pc.ram", "pc.rom"}) {
        stream::append_section_part(out, 3);
        append_page(out, 0x1000, block, false);
        append_page(out, 0x2000, "", true);
        append_page(out, 0x3000, "", false);
        stream::append_end_of_ram(out);
        stream::append_section_footer(out, 3);
    }
    return out;
}

TEST_F(Scanning, FindsPagesHoweverTheyComeInPieces) {
    const stream::Buffer bytes = two_sections();
    for (const std::size_t piece :
         {std::size_t{1}, std::size_t{7}, std::size_t{4096}, bytes.size()}) {
        ASSERT_TRUE(scan(RecordScanner::Start::section, bytes, piece));
        EXPECT_THAT(found, ElementsAre("pc.ram:1000", "pc.ram:2000", "pc.ram:3000", "pc.rom:1000",
                                       "pc.rom:2000", "pc.rom:3000"))
            << piece;
    }
}

TEST_F(Scanning, APageIsFoundWithItsLastByte) {
    stream::Buffer bytes;
    append_page(bytes, 0, "m", false);
    bytes.pop_back();
    ASSERT_TRUE(scan(RecordScanner::Start::record, bytes, SIZE_MAX));
    EXPECT_THAT(found, ElementsAre());
    bytes.push_back(std::byte{0});
    ASSERT_TRUE(scan(RecordScanner::Start::record, bytes, SIZE_MAX));
    EXPECT_THAT(found, ElementsAre("m:0"));
}

TEST_F(Scanning, RefusesWhatIsNoSection) {
    stream::Buffer bytes;
    stream::append_section_end(bytes, 3);
    EXPECT_EQ(error(RecordScanner::Start::section, bytes),
              "RAM records, before byte 5: expected the head of a section (0x02), got 0x03");
}

TEST_F(Scanning, RefusesAWrongFooter) {
    stream::Buffer bytes;
    stream::append_section_part(bytes, 3);
    stream::append_end_of_ram(bytes);
    stream::append_section_part(bytes, 3);
    EXPECT_THAT(error(RecordScanner::Start::section, bytes),
                HasSubstr("expected the footer of a section (0x7e), got 0x02"));
}

TEST_F(Scanning, RefusesARecordOfNoBlock) {
    stream::Buffer bytes;
    append_page(bytes, 0, "", true);
    EXPECT_THAT(error(RecordScanner::Start::record, bytes),
                HasSubstr("the first RAM record does not name its block"));
}

TEST_F(Scanning, RefusesABlockWithoutAName) {
    stream::Buffer bytes;
    stream::append_be64(bytes, stream::ram_zero);
    bytes.push_back(std::byte{0});
    EXPECT_THAT(error(RecordScanner::Start::record, bytes),
                HasSubstr("a RAM block without a name"));
}

TEST_F(Scanning, RefusesOtherRecords) {
    stream::Buffer bytes;
    stream::append_be64(bytes, stream::ram_xbzrle);
    EXPECT_THAT(error(RecordScanner::Start::record, bytes),
                HasSubstr("expected a page, got a RAM record with the flags 0x40"));
}

TEST_F(Scanning, RefusesAPageFilledWithSomethingElse) {
    stream::Buffer bytes;
    append_page(bytes, 0, "m", true);
    bytes.back() = std::byte{0xff};
    EXPECT_THAT(error(RecordScanner::Start::record, bytes),
                HasSubstr("expected a page of zeros, got one filled with 0xff"));
}

TEST_F(Scanning, RefusesBytesAfterTheEndOfThePreemptChannel) {
    stream::Buffer bytes;
    stream::append_end_of_ram(bytes);
    ASSERT_TRUE(scan(RecordScanner::Start::record, bytes, SIZE_MAX));
    bytes.push_back(std::byte{0});
    EXPECT_THAT(error(RecordScanner::Start::record, bytes),
                HasSubstr("expected the end of the channel, got more bytes"));
}

TEST(BlockIds, AreInOrderOfAppearanceAndLimited) {
    BlockIds blocks;
    for (std::size_t i = 0; i < stream::max_blocks; ++i)
        ASSERT_EQ(blocks.id(fmt::format("block{}", i)).value(), i);
    EXPECT_EQ(blocks.id("block7").value(), 7U);
    EXPECT_EQ(blocks.id("block7").value(), 7U);
    EXPECT_EQ(blocks.name(7), "block7");
    EXPECT_FALSE(blocks.id("one more"));
    EXPECT_FALSE(BlockIds().id(""));
}

}  // namespace
}  // namespace gc::receive

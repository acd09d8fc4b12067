// SPDX-License-Identifier: GPL-2.0-or-later
// Reads a RAM block's file, and checks that reading does not change it.
#include "image/source_image.h"

#include <array>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::image {
namespace {

constexpr std::uint64_t pages = 40;
constexpr std::uint64_t before = 3;  ///< pages in the file before the block

/// Pages 2, 3 and 39 of the block have data, page 4 has zeros, and the others are holes.
class InFile : public testing::Test {
  protected:
    void SetUp() override {
        file = ::memfd_create("ram", MFD_CLOEXEC);
        ASSERT_EQ(::ftruncate(file, static_cast<off_t>((before + pages) * page_size)), 0);
        for (const std::uint64_t page : {2, 3, 4, 39}) {
            const auto mark = static_cast<unsigned char>(page == 4 ? 0 : page);
            const std::uint64_t last_byte = (before + page + 1) * page_size - 1;
            ASSERT_EQ(::pwrite(file, &mark, 1, static_cast<off_t>(last_byte)), 1);
        }
        std::vector<ImageBlock> blocks;
        blocks.push_back({"pc.ram", "pc.ram", pages * page_size, UniqueFd(file), before * page_size,
                          std::nullopt});
        image.emplace(SourceImage::open(std::move(blocks)).value());
    }

    [[nodiscard]] blkcnt_t allocated() const {
        struct stat status {};
        EXPECT_EQ(::fstat(file, &status), 0);
        return status.st_blocks;
    }

    int file = -1;  ///< the image's
    std::optional<SourceImage> image;
    std::vector<std::byte> room = std::vector<std::byte>(pages * page_size);
};

TEST_F(InFile, FindsDataAndFillsNoHole) {
    const blkcnt_t blocks = allocated();
    SourceImage::View view;
    const SourceImage::Found found = image->find_data(0, 0, pages, room, view).value();
    EXPECT_EQ(found.data, std::uint64_t{1} << 2 | std::uint64_t{1} << 3 | std::uint64_t{1} << 39);
    EXPECT_FALSE(found.copied);
    EXPECT_EQ(allocated(), blocks);
}

TEST_F(InFile, AViewShowsARangeOfTheFileForOthersToHold) {
    SourceImage::View view;
    EXPECT_TRUE(view.bytes(file, 0, page_size).bytes.empty());
    ASSERT_TRUE(image->find_data(0, 0, pages, room, view));
    HeldBytes held = view.bytes(file, (before + 2) * page_size, 2 * page_size);
    view = {};
    ASSERT_EQ(held.bytes.size(), 2 * page_size);
    EXPECT_EQ(held.bytes[page_size - 1], std::byte{2});
    EXPECT_EQ(held.bytes.back(), std::byte{3});
    ASSERT_TRUE(image->find_data(0, 0, pages, room, view));
    EXPECT_TRUE(view.bytes(file, (before - 1) * page_size, 2 * page_size).bytes.empty());
    EXPECT_TRUE(view.bytes(file, (before + pages - 1) * page_size, 2 * page_size).bytes.empty());
    EXPECT_TRUE(view.bytes(file + 1, (before + 2) * page_size, page_size).bytes.empty());
}

TEST_F(InFile, ReadsPagesOrThatTheyAreZeros) {
    const blkcnt_t blocks = allocated();
    std::array<PageContent, 4> contents;
    ASSERT_TRUE(image->read(0, 2, contents, room));
    for (const std::size_t i : {0, 1}) {
        ASSERT_TRUE(contents[i]);
        EXPECT_EQ(contents[i]->size(), page_size);
        EXPECT_EQ(contents[i]->back(), static_cast<std::byte>(2 + i));
    }
    EXPECT_FALSE(contents[2]) << "written, as zeros";
    EXPECT_FALSE(contents[3]) << "a hole";
    EXPECT_EQ(allocated(), blocks);
    EXPECT_EQ(image->next_data(0, 5).value(), 39U);
}

TEST_F(InFile, FindsHoles) {
    const blkcnt_t blocks = allocated();
    EXPECT_EQ(image->next_hole(0, 0).value(), 0U);
    EXPECT_EQ(image->next_hole(0, 2).value(), 5U) << "zeros that were written are no hole";
    EXPECT_EQ(image->next_hole(0, 38).value(), 38U);
    EXPECT_EQ(image->next_hole(0, 39).value(), pages);
    EXPECT_EQ(image->next_hole(0, pages).value(), pages);
    EXPECT_EQ(allocated(), blocks);
}

TEST_F(InFile, SaysThatItsFileWasCut) {
    ASSERT_EQ(::ftruncate(file, static_cast<off_t>((before + 3) * page_size)), 0);
    std::array<PageContent, 2> contents;
    const auto read = image->read(0, 2, contents, room);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().message, "the file of RAM block pc.ram ends at byte 24576");
}

}  // namespace
}  // namespace gc::image

// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/whole_file.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::util {
namespace {

using testing::HasSubstr;

class WholeFile : public testing::Test {
  protected:
    void SetUp() override { std::filesystem::create_directory(folder_); }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    // Unique to this process: tests run in parallel.
    std::string folder_ = testing::TempDir() + "/whole_file_test-" + std::to_string(::getpid());
    std::string path_ = folder_ + "/file";
};

TEST_F(WholeFile, IsReadAsItWasWritten) {
    const std::string text = std::string(100000, 'x') + '\0' + "end";
    ASSERT_TRUE(write_whole_file(path_, text));
    EXPECT_EQ(read_whole_file(path_, text.size()), text);
}

TEST_F(WholeFile, ReplacesAnother) {
    ASSERT_TRUE(write_whole_file(path_, "a long text"));
    ASSERT_TRUE(write_whole_file(path_, ""));
    EXPECT_EQ(read_whole_file(path_, 0), "");
    EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(WholeFile, IsLongerThanTheLimit) {
    ASSERT_TRUE(write_whole_file(path_, std::string((1 << 20) + 1, 'x')));
    const auto read = read_whole_file(path_, 1 << 20);
    ASSERT_FALSE(read);
    EXPECT_THAT(read.error().message, HasSubstr(path_ + ": expected at most 1048576 bytes"));
}

TEST_F(WholeFile, OnlyARegularOneIsReplaced) {
    ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
    const auto written = write_whole_file(path_, "x");
    ASSERT_FALSE(written);
    EXPECT_THAT(written.error().message, HasSubstr(path_ + ": expected a regular file"));
    EXPECT_TRUE(std::filesystem::is_fifo(path_));
    EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(WholeFile, NothingIsLeftOfOneThatCannotBeWritten) {
    // A directory has the temporary name, so it cannot be opened for writing.
    std::filesystem::create_directory(path_ + ".new");
    EXPECT_FALSE(write_whole_file(path_, "x"));
    EXPECT_FALSE(std::filesystem::exists(path_));
    EXPECT_FALSE(write_whole_file(folder_ + "/none/file", "x"));
}

TEST_F(WholeFile, OnlyItsOwnerReadsIt) {
    namespace fs = std::filesystem;
    constexpr auto owner = fs::perms::owner_read | fs::perms::owner_write;
    const mode_t old = ::umask(0);
    ASSERT_TRUE(write_whole_file(path_, "x"));
    EXPECT_EQ(fs::status(path_).permissions(), owner);
    fs::permissions(path_, fs::perms::all);
    ASSERT_TRUE(write_whole_file(path_, "y"));
    ::umask(old);
    EXPECT_EQ(fs::status(path_).permissions(), owner);
}

TEST_F(WholeFile, TheTemporaryNameIsNotFollowed) {
    ASSERT_TRUE(write_whole_file(folder_ + "/victim", "precious"));
    std::filesystem::create_symlink(folder_ + "/victim", path_ + ".new");
    ASSERT_TRUE(write_whole_file(path_, "x"));
    EXPECT_EQ(read_whole_file(folder_ + "/victim"), "precious");
    EXPECT_FALSE(std::filesystem::is_symlink(path_));
}

TEST_F(WholeFile, ASparseOneTakesNoMemory) {
    ASSERT_TRUE(write_whole_file(path_, ""));
    if (::truncate(path_.c_str(), off_t{1} << 42) != 0)
        GTEST_SKIP() << "the file system has no files of this size";
    EXPECT_FALSE(read_whole_file(path_, 1 << 20));
}

}  // namespace
}  // namespace gc::util

// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/file.h"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::trace {
namespace {

using testing::StartsWith;

const Header header{Mode::age, 1'000'000, {{"pc.ram", 64 << 20, 4096}}};

class TraceFiles : public testing::Test {
  protected:
    TraceFiles() : path_(fmt::format("{}trace-{}", testing::TempDir(), ::getpid())) {}
    ~TraceFiles() override { ::unlink(path_.c_str()); }

    void expect_refused(ErrorKind kind, const std::string& message) {
        const auto trace = read_trace(path_);
        ASSERT_FALSE(trace);
        EXPECT_EQ(trace.error().kind, kind);
        EXPECT_THAT(trace.error().message, StartsWith(message));
    }

    const std::string path_;
};

TEST_F(TraceFiles, WhatWasWrittenIsRead) {
    Epoch epoch{.length_us = 1'000'000, .touches = {}};
    epoch.add({.page = 7, .kind = AccessKind::any});
    auto file = TraceFile::create(path_, header);
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_TRUE(file->append(epoch));
    ASSERT_TRUE(file->finish());
    const auto trace = read_trace(path_);
    ASSERT_TRUE(trace) << trace.error().message;
    EXPECT_EQ(trace->header, header);
    EXPECT_EQ(trace->epochs, std::vector{epoch});
    EXPECT_EQ(file->epochs(), 1U);
}

TEST_F(TraceFiles, NotFinished) {
    std::uint64_t bytes = 0;
    {
        auto file = TraceFile::create(path_, header);
        ASSERT_TRUE(file) << file.error().message;
        bytes = file->bytes();
    }
    expect_refused(ErrorKind::protocol,
                   fmt::format("{}: offset {}: expected an epoch or the end mark", path_, bytes));
}

TEST_F(TraceFiles, Empty) {
    std::ofstream(path_).flush();
    expect_refused(ErrorKind::protocol, path_ + ": offset 0: expected the magic");
}

TEST_F(TraceFiles, SomethingElse) {
    std::ofstream(path_) << R"({"event": "recording", "mode": "age"})" << std::flush;
    expect_refused(ErrorKind::protocol,
                   path_ + ": offset 0: expected the magic 'gctrace\\n' of an access trace");
}

TEST_F(TraceFiles, Absent) {
    expect_refused(ErrorKind::io, "open " + path_ + ": No such file or directory");
}

TEST(TraceOf, WhatIsNoFile) {
    for (const char* path : {"/dev", "/dev/zero"}) {
        const auto trace = read_trace(path);
        ASSERT_FALSE(trace);
        EXPECT_EQ(trace.error().kind, ErrorKind::usage);
        EXPECT_EQ(trace.error().message,
                  fmt::format("{}: expected an access trace in a regular file", path));
    }
}

TEST(TraceOf, FullDisk) {
    const auto file = TraceFile::create("/dev/full", header);
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().kind, ErrorKind::io);
    EXPECT_EQ(file.error().message, "/dev/full: write: No space left on device");
}

TEST_F(TraceFiles, OnlyTheirOwnerReadsThem) {
    const mode_t old = ::umask(0);
    const auto file = TraceFile::create(path_, header);
    ::umask(old);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(std::filesystem::status(path_).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

/// A terabyte that takes no space on the disk.
TEST_F(TraceFiles, Sparse) {
    {
        auto file = TraceFile::create(path_, header);
        ASSERT_TRUE(file) << file.error().message;
    }
    if (::truncate(path_.c_str(), off_t{1} << 40) != 0)
        GTEST_SKIP() << "the file system has no files of a terabyte";
    expect_refused(ErrorKind::protocol, path_ + ": expected an access trace, which has no holes");
    ASSERT_EQ(::truncate(path_.c_str(), 0), 0);
    ASSERT_EQ(::truncate(path_.c_str(), off_t{1} << 40), 0);
    expect_refused(ErrorKind::protocol, path_ + ": offset 0: expected the magic");
}

}  // namespace
}  // namespace gc::trace

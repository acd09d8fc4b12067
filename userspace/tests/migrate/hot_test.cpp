// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/hot.h"

#include "trace/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace gc::migrate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr std::uint64_t mib = 1 << 20;

/// Guest RAM of the VM to be migrated.
std::vector<qmp::RamBlock> ram_of_vm() {
    std::vector<qmp::RamBlock> ram;
    for (const auto& [name, bytes] : {std::pair{"m0", 4 * mib}, {"m1", 2 * mib}}) {
        qmp::RamBlock block;
        block.name = block.backend = name;
        block.length = bytes;
        ram.push_back(std::move(block));
    }
    return ram;
}

class HotOfFile : public testing::Test {
  protected:
    HotOfFile() : path_(fmt::format("{}hot-{}", testing::TempDir(), ::getpid())) {}
    ~HotOfFile() override { ::unlink(path_.c_str()); }

    /// @return the size of the file
    std::uint64_t write(std::vector<trace::Block> blocks,
                        std::initializer_list<std::uint64_t> pages) {
        trace::Epoch epoch{.touches = {}};
        for (const std::uint64_t page : pages)
            epoch.add({.page = page, .kind = trace::AccessKind::any});
        auto file = trace::TraceFile::create(path_, {trace::Mode::order, 1, std::move(blocks)});
        EXPECT_TRUE(file);
        EXPECT_TRUE(file->append(epoch));
        EXPECT_TRUE(file->finish());
        return file->bytes();
    }

    void expect_refused(ErrorKind kind, const std::string& message) {
        const auto hot = hot_of_file(path_, ram_of_vm());
        ASSERT_FALSE(hot);
        EXPECT_EQ(hot.error().kind, kind);
        EXPECT_THAT(hot.error().message, HasSubstr(message));
        EXPECT_THAT(hot.error().message, HasSubstr(path_));
    }

    std::string path_;
};

TEST_F(HotOfFile, IsByBlockInItsOrder) {
    // The trace may list the blocks in another order.
    write({{"m1", 2 * mib, 4096}, {"m0", 4 * mib, 4096}}, {512, 3, 1535});
    const auto hot = hot_of_file(path_, ram_of_vm());
    ASSERT_TRUE(hot) << hot.error().message;
    EXPECT_THAT(hot->blocks, ElementsAre("m1", "m0"));
    std::vector<std::pair<std::size_t, std::uint64_t>> pages;
    for (const transfer::PageRef& page : hot->pages)
        pages.emplace_back(page.block, page.number);
    EXPECT_THAT(pages, ElementsAre(Pair(1, 0), Pair(0, 3), Pair(1, 1023)));
}

TEST_F(HotOfFile, MayLackMemoryThatWasPluggedSince) {
    write({{"m0", 4 * mib, 4096}}, {5});
    const auto hot = hot_of_file(path_, ram_of_vm());
    ASSERT_TRUE(hot) << hot.error().message;
    EXPECT_EQ(hot->pages.size(), 1U);
}

TEST_F(HotOfFile, OtherSize) {
    write({{"m0", 4 * mib, 4096}, {"m1", mib, 4096}}, {5});
    expect_refused(ErrorKind::usage,
                   "expected a trace of this VM, whose RAM block 'm1' has 2097152 "
                   "bytes, got one with 1048576 bytes");
}

TEST_F(HotOfFile, OtherName) {
    write({{"pc.ram", 4 * mib, 4096}}, {5});
    expect_refused(ErrorKind::usage,
                   "expected a trace of this VM, got one of a VM with the RAM block 'pc.ram'");
}

TEST_F(HotOfFile, CutOff) {
    const std::uint64_t bytes = write({{"m0", 4 * mib, 4096}}, {5});
    ASSERT_EQ(::truncate(path_.c_str(), static_cast<off_t>(bytes - 1)), 0);
    expect_refused(
        ErrorKind::protocol,
        fmt::format("offset {}: expected the number of epochs, but the file ends", bytes - 1));
}

TEST_F(HotOfFile, Absent) {
    expect_refused(ErrorKind::io, "No such file or directory");
}

}  // namespace
}  // namespace gc::migrate

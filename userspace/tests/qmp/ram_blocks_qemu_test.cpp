// SPDX-License-Identifier: GPL-2.0-or-later
// ram_blocks() against a real QEMU that is started paused: no guest code runs.
#include "qmp/migration.h"
#include "qmp/ram_blocks.h"

#include "paused_qemu.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace gc::qmp {
namespace {

using ::testing::HasSubstr;

std::vector<RamBlock> guest_ram(std::vector<std::string> arguments) {
    PausedQemu qemu(std::move(arguments));
    auto client = qemu.connect();
    auto blocks = ram_blocks(client, qemu.pid());
    EXPECT_TRUE(blocks) << blocks.error().message;
    std::vector<RamBlock> ram;
    if (blocks)
        for (RamBlock& block : *blocks)
            if (block.is_guest_ram())
                ram.push_back(std::move(block));
    return ram;
}

off_t size_of(const RamBlock& block) {
    return ::lseek(block.file.get(), 0, SEEK_END);
}

TEST(RamBlocksOfQemu, FindsTheMemfd) {
    auto ram = guest_ram({"-machine", "q35,memory-backend=pc.ram", "-m", "64", "-object",
                          "memory-backend-memfd,id=pc.ram,size=64M,share=on"});
    ASSERT_EQ(ram.size(), 1u);
    EXPECT_EQ(ram[0].name, "pc.ram");
    EXPECT_EQ(ram[0].backing, Backing::shmem);
    EXPECT_EQ(ram[0].length, 64u << 20);
    EXPECT_EQ(ram[0].file_offset, 0u);
    EXPECT_EQ(size_of(ram[0]), 64 << 20);
}

TEST(RamBlocksOfQemu, TellsTwoEqualBackendsApart) {
    PausedQemu qemu({"-machine", "q35", "-m", "64", "-object",
                     "memory-backend-memfd,id=r0,size=32M,share=on", "-object",
                     "memory-backend-memfd,id=r1,size=32M,share=on", "-numa", "node,memdev=r0",
                     "-numa", "node,memdev=r1"});
    auto client = qemu.connect();
    auto blocks = ram_blocks(client, qemu.pid());
    ASSERT_TRUE(blocks) << blocks.error().message;
    // A byte written through QEMU's monitor-visible address must appear in the file of its block.
    ASSERT_EQ(blocks->at(0).name, "r0");
    ASSERT_EQ(blocks->at(1).name, "r1");
    ASSERT_EQ(blocks->at(1).backing, Backing::shmem);
    const auto memory = fmt::format("/proc/{}/mem", qemu.pid());
    const UniqueFd writer(::open(memory.c_str(), O_WRONLY | O_CLOEXEC));
    for (std::size_t i = 0; i < 2; ++i) {
        const char mark = static_cast<char>('a' + i);
        ASSERT_EQ(::pwrite(writer.get(), &mark, 1, static_cast<off_t>((*blocks)[i].hva + 0x5000)),
                  1);
    }
    for (std::size_t i = 0; i < 2; ++i) {
        char seen = 0;
        ASSERT_EQ(::pread((*blocks)[i].file.get(), &seen, 1, 0x5000), 1);
        EXPECT_EQ(seen, static_cast<char>('a' + i));
    }
}

TEST(RamBlocksOfQemu, SharedAnonymousMemoryHasAFileToo) {
    auto ram = guest_ram({"-machine", "pc,memory-backend=m", "-m", "64", "-object",
                          "memory-backend-ram,id=m,size=64M,share=on"});
    ASSERT_EQ(ram.size(), 1u);
    EXPECT_EQ(ram[0].backing, Backing::shmem);
    EXPECT_TRUE(ram[0].file);
}

TEST(RamBlocksOfQemu, GuestAboveThePciHole) {
    auto ram = guest_ram({"-machine", "pc,memory-backend=m", "-m", "5G", "-object",
                          "memory-backend-memfd,id=m,size=5G,share=on"});
    ASSERT_EQ(ram.size(), 1u);
    EXPECT_EQ(ram[0].length, 5ull << 30);
    EXPECT_EQ(ram[0].backing, Backing::shmem);
}

TEST(RamBlocksOfQemu, PlainMemoryIsAnonymous) {
    auto ram = guest_ram({"-machine", "microvm", "-m", "64"});
    ASSERT_EQ(ram.size(), 1u);
    EXPECT_EQ(ram[0].name, "microvm.ram");
    EXPECT_EQ(ram[0].backing, Backing::anonymous);
    EXPECT_FALSE(ram[0].file);
    EXPECT_FALSE(ram[0].in_file());
    EXPECT_NE(ram[0].hva, 0u);
    EXPECT_FALSE(ram[0].obstacle());
}

TEST(RamBlock, HasAnObstacleThatSaysWhatToDo) {
    RamBlock block;
    block.name = "pc.ram";
    block.page_size = 4096;
    EXPECT_THAT(block.obstacle()->what, HasSubstr("pc.ram")) << "nowhere to be found";
    EXPECT_FALSE(block.obstacle()->remedy.empty());
    block.backing = Backing::private_file;
    EXPECT_FALSE(block.obstacle());
    block.page_size = 2 << 20;
    EXPECT_FALSE(block.obstacle());
    block.page_size = 1 << 30;
    EXPECT_THAT(block.obstacle()->what, HasSubstr("1024 MiB"));
}

TEST(RamBlocksOfQemu, BackendNamedByItsPath) {
    auto ram =
        guest_ram({"-machine", "pc-q35-3.1", "-m", "64", "-object",
                   "memory-backend-memfd,id=r0,size=64M,share=on", "-numa", "node,memdev=r0"});
    ASSERT_EQ(ram.size(), 1u);
    EXPECT_EQ(ram[0].name, "/objects/r0");
    EXPECT_EQ(ram[0].backend, "r0");
    EXPECT_EQ(ram[0].backing, Backing::shmem);
}

TEST(RamBlocksOfQemu, QueriesOfMigration) {
    PausedQemu qemu({"-machine", "microvm", "-m", "64"});
    auto client = qemu.connect();
    EXPECT_TRUE(client.version().at_least(7, 2)) << client.version().text();
    EXPECT_EQ(query_status(client)->status, "prelaunch");
    EXPECT_EQ(query_migrate(client)->status, "none");
    EXPECT_TRUE(query_capabilities(client)->contains("postcopy-ram"));
    EXPECT_TRUE(set_capabilities(client, {{"events", true}}));
}

}  // namespace
}  // namespace gc::qmp

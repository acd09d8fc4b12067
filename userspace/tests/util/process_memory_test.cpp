// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/process_memory.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace gc::util {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t pages = 2000;

/// A process with a copy of our memory that waits to be killed.
class OfAnotherProcess : public testing::Test {
  protected:
    void SetUp() override {
        void* start = ::mmap(nullptr, pages * page, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ASSERT_NE(start, MAP_FAILED);
        memory_ = Mapping(start, pages * page);
        ::madvise(start, pages * page, MADV_NOHUGEPAGE);
        for (const std::uint64_t touched : {3U, 4U, 1000U})
            std::memset(memory_.data() + touched * page, static_cast<int>(touched % 100), page);
        child_ = ::fork();
        if (child_ == 0)
            for (;;)
                ::pause();
        ASSERT_GT(child_, 0);
    }
    void TearDown() override { end(); }

    void end() {
        if (child_ <= 0)
            return;
        ::kill(child_, SIGKILL);
        ::waitpid(child_, nullptr, 0);
        child_ = -1;
    }

    Result<ProcessMemory> open(std::optional<Underlay> underlay) {
        return ProcessMemory::open(child_, reinterpret_cast<std::uintptr_t>(memory_.data()),
                                   pages * page, std::move(underlay));
    }

    Mapping memory_;
    pid_t child_ = -1;
};

TEST_F(OfAnotherProcess, IsReadAsItIsThere) {
    const auto memory = open(Underlay{});
    ASSERT_TRUE(memory) << memory.error().message;
    std::memset(memory_.data() + 3 * page, 77, page);  // in our copy only
    std::array<std::byte, page> room{};
    ASSERT_TRUE(memory->read(3 * page, room));
    EXPECT_EQ(room.front(), std::byte{3});
    EXPECT_EQ(room.back(), std::byte{3});
    EXPECT_TRUE(memory->check_alive());
}

TEST_F(OfAnotherProcess, UntouchedPagesAreSkipped) {
    const auto memory = open(Underlay{}).value();
    EXPECT_EQ(memory.next_data(0).value(), 3U);
    EXPECT_EQ(memory.next_data(3).value(), 3U);
    EXPECT_EQ(memory.next_data(4).value(), 4U);
    EXPECT_EQ(memory.next_data(5).value(), 1000U);
    EXPECT_EQ(memory.next_data(1001).value(), pages);
    EXPECT_EQ(memory.next_data(pages).value(), pages);
    const auto all = open(std::nullopt).value();
    EXPECT_EQ(all.next_data(0).value(), 0U) << "a file may have content there";
}

TEST_F(OfAnotherProcess, UntouchedPagesAreHoles) {
    const auto memory = open(Underlay{}).value();
    EXPECT_EQ(memory.next_hole(0).value(), 0U);
    EXPECT_EQ(memory.next_hole(3).value(), 5U);
    EXPECT_EQ(memory.next_hole(1000).value(), 1001U);
    EXPECT_EQ(memory.next_hole(pages).value(), pages);
    EXPECT_EQ(open(std::nullopt).value().next_hole(0).value(), pages) << "nothing is known";
}

TEST_F(OfAnotherProcess, UntouchedPagesStayUntouched) {
    const auto memory = ProcessMemory::open(
        ::getpid(), reinterpret_cast<std::uintptr_t>(memory_.data()), pages * page, Underlay{});
    ASSERT_TRUE(memory) << memory.error().message;
    std::vector<std::byte> all(pages * page, std::byte{0xff});
    ASSERT_TRUE(memory->read(0, all));
    EXPECT_EQ(all[3 * page], std::byte{3});
    EXPECT_EQ(all[1000 * page], std::byte{0});
    EXPECT_EQ(std::ranges::count(all, std::byte{4}), static_cast<std::ptrdiff_t>(page));
    EXPECT_EQ(std::ranges::count(all, std::byte{0xff}), 0);
    EXPECT_EQ(memory->next_data(5).value(), 1000U) << "nothing was populated";
}

TEST(OverAFile, TheFileShowsWhereNothingWasWritten) {
    UniqueFd file(::memfd_create("ram", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), pages * page), 0);
    const unsigned char in_file = 0x77;
    for (const std::uint64_t number : {5U, 6U})
        ASSERT_EQ(::pwrite(file.get(), &in_file, 1, static_cast<off_t>(number * page)), 1);
    void* start = ::mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
    ASSERT_NE(start, MAP_FAILED);
    const Mapping map(start, pages * page);
    map.data()[6 * page] = std::byte{0x5a};
    map.data()[100 * page] = std::byte{0x5a};
    UniqueFd again(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
    const auto memory = ProcessMemory::open(::getpid(), reinterpret_cast<std::uintptr_t>(start),
                                            pages * page, Underlay{std::move(again), 0})
                            .value();
    std::vector<std::byte> all(pages * page);
    ASSERT_TRUE(memory.read(0, all));
    EXPECT_EQ(all[5 * page], std::byte{0x77});
    EXPECT_EQ(all[6 * page], std::byte{0x5a}) << "the process's own";
    EXPECT_EQ(all[100 * page], std::byte{0x5a});
    EXPECT_EQ(all[101 * page], std::byte{0});
    EXPECT_EQ(memory.next_data(0).value(), 5U);
    EXPECT_EQ(memory.next_data(7).value(), 100U);
    EXPECT_EQ(memory.next_hole(0).value(), 0U);
    EXPECT_EQ(memory.next_hole(5).value(), 7U) << "the process has not touched it, the file has it";
    EXPECT_EQ(memory.next_hole(100).value(), 101U);
    struct stat status {};
    ASSERT_EQ(::fstat(file.get(), &status), 0);
    EXPECT_LE(status.st_blocks * 512, static_cast<blkcnt_t>(3 * page)) << "holes stay holes";
}

TEST_F(OfAnotherProcess, WhatIsUnmappedIsAnError) {
    const auto memory = ProcessMemory::open(child_, page, pages * page, std::nullopt);
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().kind, ErrorKind::io);
}

TEST_F(OfAnotherProcess, EndedProcessIsSaidToHaveEnded) {
    const auto memory = open(Underlay{}).value();
    const pid_t pid = child_;
    end();
    std::array<std::byte, page> room{};
    const auto read = memory.read(3 * page, room);
    ASSERT_FALSE(read);
    EXPECT_NE(read.error().message.find(std::to_string(pid)), std::string::npos);
    EXPECT_FALSE(memory.check_alive());
    EXPECT_FALSE(memory.next_data(0));
}

TEST(ResidentPrivate, IsWhatWasTouched) {
    const std::uint64_t before = resident_private(::getpid()).value();
    void* start = ::mmap(nullptr, 64 * page, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    ASSERT_NE(start, MAP_FAILED);
    const Mapping memory(start, 64 * page);
    EXPECT_GE(resident_private(::getpid()).value(), before + 32 * page);
    EXPECT_FALSE(resident_private(-1));
}

}  // namespace
}  // namespace gc::util

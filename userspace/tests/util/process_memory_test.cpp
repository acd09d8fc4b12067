// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/process_memory.h"

#include <array>
#include <csignal>
#include <cstring>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gc {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t pages = 2000;

/// A process that has a copy of our memory as it was, and waits to be killed.
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

    Result<ProcessMemory> open(bool untouched_is_zero) {
        return ProcessMemory::open(child_, reinterpret_cast<std::uintptr_t>(memory_.data()),
                                   pages * page, untouched_is_zero);
    }

    Mapping memory_;
    pid_t child_ = -1;
};

TEST_F(OfAnotherProcess, IsReadAsItIsThere) {
    const auto memory = open(true);
    ASSERT_TRUE(memory) << memory.error().message;
    std::memset(memory_.data() + 3 * page, 77, page);  // ours alone
    std::array<std::byte, page> room{};
    ASSERT_TRUE(memory->read(3 * page, room));
    EXPECT_EQ(room.front(), std::byte{3});
    EXPECT_EQ(room.back(), std::byte{3});
    EXPECT_TRUE(memory->check_alive());
}

TEST_F(OfAnotherProcess, UntouchedPagesAreSkipped) {
    const auto memory = open(true).value();
    EXPECT_EQ(memory.next_touched(0).value(), 3U);
    EXPECT_EQ(memory.next_touched(3).value(), 3U);
    EXPECT_EQ(memory.next_touched(4).value(), 4U);
    EXPECT_EQ(memory.next_touched(5).value(), 1000U);
    EXPECT_EQ(memory.next_touched(1001).value(), pages);
    EXPECT_EQ(memory.next_touched(pages).value(), pages);
    const auto all = open(false).value();
    EXPECT_EQ(all.next_touched(0).value(), 0U) << "a file may have content there";
}

TEST_F(OfAnotherProcess, WhatIsUnmappedIsAnError) {
    const auto memory = ProcessMemory::open(child_, page, pages * page, false);
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().kind, ErrorKind::io);
}

TEST_F(OfAnotherProcess, EndedProcessIsSaidToHaveEnded) {
    const auto memory = open(true).value();
    const pid_t pid = child_;
    end();
    std::array<std::byte, page> room{};
    const auto read = memory.read(3 * page, room);
    ASSERT_FALSE(read);
    EXPECT_NE(read.error().message.find(std::to_string(pid)), std::string::npos);
    EXPECT_FALSE(memory.check_alive());
    EXPECT_FALSE(memory.next_touched(0));
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
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
// Which destinations have too little memory. A real host's and cgroup's: tests/e2e/test_memory.py.
#include "receive/memory_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gc::receive {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::uint64_t mib = 1 << 20;

TEST(MemoryCheck, WhatQemuHasIsNotNeededAgain) {
    EXPECT_TRUE(check_memory(
        {.ram = 1024 * mib, .resident = 1000 * mib, .available = 24 * mib, .cgroup = {}}));
    EXPECT_TRUE(
        check_memory({.ram = 1024 * mib, .resident = 1100 * mib, .available = 0, .cgroup = {}}));
}

TEST(MemoryCheck, TheHostHasTooLittle) {
    const auto fits =
        check_memory({.ram = 1024 * mib, .resident = 0, .available = 1000 * mib, .cgroup = {}});
    ASSERT_FALSE(fits);
    EXPECT_EQ(fits.error().kind, ErrorKind::unsupported);
    EXPECT_THAT(fits.error().message,
                AllOf(HasSubstr("needs 1024 MiB more"), HasSubstr("host has 1000 MiB"),
                      HasSubstr("--allow-overcommit")));
}

TEST(MemoryCheck, TheCgroupHasTooLittle) {
    const auto fits = check_memory({.ram = 1024 * mib,
                                    .resident = 24 * mib,
                                    .available = 8000 * mib,
                                    .cgroup = CgroupRoom{"/sys/fs/cgroup/vm", 500 * mib}});
    ASSERT_FALSE(fits);
    EXPECT_THAT(fits.error().message, AllOf(HasSubstr("needs 1000 MiB more"),
                                            HasSubstr("/sys/fs/cgroup/vm leaves it 500 MiB")));
}

}  // namespace
}  // namespace gc::receive

// SPDX-License-Identifier: GPL-2.0-or-later
// Control groups: their directories, and the memory they leave. The limits of a real one are in
// tests/e2e/test_memory.py.
#include "util/cgroup.h"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gc {
namespace {

TEST(Cgroup, Places) {
    const auto places =
        cgroups_besides("1:cpu,cpuacct:/a\n0::/a\n", "1:cpu,cpuacct:/a\n0::/vm:1\n");
    ASSERT_EQ(places.size(), 1U);
    EXPECT_EQ(places[0].controllers, "");
    EXPECT_EQ(places[0].path, "/vm:1");
    constexpr std::string_view mounts =
        "24 1 0:21 / /proc rw - proc proc rw\n"
        "25 1 0:22 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        "26 1 0:23 / /sys/fs/cgroup rw,nosuid shared:4 master:2 - cgroup2 cgroup2 rw,nsdelegate\n";
    EXPECT_EQ(cgroup_directory(mounts, places[0]).value(), "/sys/fs/cgroup/vm:1");
    EXPECT_EQ(cgroup_directory(mounts, {"cpu,cpuacct", "/x"}).value(), "/sys/fs/cgroup/cpu/x");
    EXPECT_FALSE(cgroup_directory(mounts, {"memory", "/x"}));
    EXPECT_FALSE(cgroup_directory(mounts, {"", "/../x"})) << "outside the cgroup namespace";
    EXPECT_EQ(cgroup_directory("1 1 0:2 /pod /cg rw - cgroup2 c rw\n", {"", "/pod/vm"}).value(),
              "/cg/vm");
    EXPECT_FALSE(cgroup_directory("1 1 0:2 /pod /cg rw - cgroup2 c rw\n", {"", "/podium"}));
}

/// A tree of files as that of a cgroup file system.
class CgroupRoomTest : public ::testing::Test {
  protected:
    void SetUp() override {
        top_ = ::testing::TempDir() + "cgroups-" + std::to_string(::getpid());
        std::filesystem::create_directories(top_ + "/machine/vm");
    }
    void TearDown() override { std::filesystem::remove_all(top_); }
    void write(const std::string& name, const std::string& text) const {
        std::ofstream(top_ + "/" + name) << text;
    }
    [[nodiscard]] std::optional<CgroupRoom> room() const {
        return memory_room(top_ + "/machine/vm", top_).value();
    }

    std::string top_;
};

TEST_F(CgroupRoomTest, WithoutALimitThereIsNone) {
    write("machine/vm/memory.max", "max\n");
    write("machine/vm/memory.current", "1000\n");
    EXPECT_FALSE(room());
}

TEST_F(CgroupRoomTest, TheCacheOfFilesIsRoom) {
    write("machine/vm/memory.max", "1000000\n");
    write("machine/vm/memory.current", "900000\n");
    write("machine/vm/memory.stat", "anon 400000\nfile 300000\ninactive_file 200000\n"
                                    "active_file 100000\nshmem 5\n");
    ASSERT_TRUE(room());
    EXPECT_EQ(room()->bytes, 400000U);
}

TEST_F(CgroupRoomTest, TheParentMayHaveLess) {
    write("machine/vm/memory.max", "1000000\n");
    write("machine/vm/memory.current", "0\n");
    write("machine/vm/memory.stat", "");
    write("machine/memory.max", "500000\n");
    write("machine/memory.current", "450000\n");
    write("machine/memory.stat", "");
    ASSERT_TRUE(room());
    EXPECT_EQ(room()->bytes, 50000U);
    EXPECT_EQ(room()->directory, top_ + "/machine");
}

TEST_F(CgroupRoomTest, OverItsLimitItHasNone) {
    write("machine/vm/memory.max", "1000\n");
    write("machine/vm/memory.current", "5000\n");
    write("machine/vm/memory.stat", "");
    ASSERT_TRUE(room());
    EXPECT_EQ(room()->bytes, 0U);
}

TEST_F(CgroupRoomTest, Version1) {
    write("machine/vm/memory.limit_in_bytes", "1000000\n");
    write("machine/vm/memory.usage_in_bytes", "700000\n");
    write("machine/vm/memory.stat", "inactive_file 7\ntotal_inactive_file 100000\n"
                                    "total_active_file 0\n");
    write("machine/memory.limit_in_bytes", "9223372036854771712\n");
    write("machine/memory.usage_in_bytes", "700000\n");
    write("machine/memory.stat", "");
    ASSERT_TRUE(room());
    EXPECT_EQ(room()->bytes, 400000U);
}

}  // namespace
}  // namespace gc

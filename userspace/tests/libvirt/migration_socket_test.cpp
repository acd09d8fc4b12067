// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/migration_socket.h"

#include "util/poll.h"
#include "util/socket.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::libvirt {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class MigrationSocketTest : public testing::Test {
  protected:
    void SetUp() override {
        if (::geteuid() != 0)
            GTEST_SKIP() << "needs root: it makes directories in /run/libvirt/guidecopy";
        std::filesystem::create_directories("/run/libvirt");
    }
    void TearDown() override { std::filesystem::remove_all("/run/libvirt/guidecopy/" + name); }

    const std::string name = fmt::format("test-{}", ::getpid());
    const QemuUser self{::geteuid(), ::getegid()};
};

TEST_F(MigrationSocketTest, JoinsWhoListensAndWhoConnects) {
    const MigrationSocket socket = MigrationSocket::make(name, self).value();
    EXPECT_EQ(socket.uri("vm"),
              "unix:///run/libvirt/guidecopy/" + name + "/m.tunnelmigrate.dest.vm");
    EXPECT_FALSE(socket.connect(10ms)) << "nobody listens yet";
    const UniqueFd listener = socket.listen("vm", self).value();
    const auto connected = socket.connect(1s);
    ASSERT_TRUE(connected) << connected.error().message;
    EXPECT_EQ(connected->pid, ::getpid());
    EXPECT_TRUE(wait_readable(listener.get(), 0ms).value());
}

TEST_F(MigrationSocketTest, LetsTheVmsUserConnectAndNothingElse) {
    constexpr uid_t user = 64055;  // Debian's libvirt-qemu
    const MigrationSocket socket = MigrationSocket::make(name, self).value();
    const UniqueFd listener = socket.listen("vm", {user, user}).value();
    const std::filesystem::path path = socket.path("vm");
    const auto status_of = [](const std::filesystem::path& file) {
        struct stat status {};
        EXPECT_EQ(::stat(file.c_str(), &status), 0);
        return status;
    };
    const auto of_socket = status_of(path), of_directory = status_of(path.parent_path());
    EXPECT_EQ(of_socket.st_uid, user);
    EXPECT_EQ(of_socket.st_mode & 0222U, 0200U);
    EXPECT_EQ(of_directory.st_uid, self.uid) << "the user could replace the socket";
    EXPECT_EQ(of_directory.st_mode & 0777U, 0711U);
}

TEST_F(MigrationSocketTest, HasAShorterNameIfTheVmsIsLong) {
    const MigrationSocket socket = MigrationSocket::make(name, self).value();
    const std::string domain(80, 'v');
    EXPECT_EQ(socket.path(domain), "/run/libvirt/guidecopy/" + name + "/migration");
    const UniqueFd listener = socket.listen(domain, self).value();
    EXPECT_TRUE(socket.connect(1s));
}

TEST_F(MigrationSocketTest, IsOneProcessOnlyAndLeavesNothing) {
    {
        MigrationSocket socket = MigrationSocket::make(name, self).value();
        const auto second = MigrationSocket::make(name, self);
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().kind, ErrorKind::unsupported);
        EXPECT_THAT(second.error().message,
                    HasSubstr("another gcctl uses /run/libvirt/guidecopy/" + name));
        const MigrationSocket moved = std::move(socket);
        EXPECT_TRUE(moved.listen("vm", self));
    }
    EXPECT_FALSE(std::filesystem::exists("/run/libvirt/guidecopy/" + name));
}

TEST_F(MigrationSocketTest, WhatAKilledProcessLeftIsRemoved) {
    std::filesystem::create_directories("/run/libvirt/guidecopy/" + name);
    const std::string path = "/run/libvirt/guidecopy/" + name + "/migration";
    std::filesystem::create_symlink("/nowhere", path);
    const MigrationSocket socket = MigrationSocket::make(name, self).value();
    EXPECT_FALSE(std::filesystem::is_symlink(path));
    EXPECT_TRUE(socket.listen("vm", self));
}

TEST(MigrationSocketName, IsAFileName) {
    for (const std::string_view good : {"web", "vm-1", "a.b_c", "0123456789abcdef"})
        EXPECT_TRUE(MigrationSocket::check_name(good)) << good;
    const std::string long_name(65, 'a');
    for (const std::string_view bad :
         {std::string_view(""), std::string_view("."), std::string_view(".."),
          std::string_view("a/b"), std::string_view(".hidden"), std::string_view("a b"),
          std::string_view("a\0b", 3), std::string_view(long_name)}) {
        const auto checked = MigrationSocket::check_name(bad);
        ASSERT_FALSE(checked) << bad;
        EXPECT_EQ(checked.error().kind, ErrorKind::usage);
    }
}

}  // namespace
}  // namespace gc::libvirt

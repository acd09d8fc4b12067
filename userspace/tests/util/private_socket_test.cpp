// SPDX-License-Identifier: GPL-2.0-or-later
// The directory's new owner plays the attacker: it replaces names while gcctl, as root, works.
#include "util/private_socket.h"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gc::util {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr uid_t nobody = 65534;

/// A $TMPDIR that the attacker may write to.
class Folder {
  public:
    Folder() {
        std::string path = ::testing::TempDir() + "private-XXXXXX";
        EXPECT_NE(::mkdtemp(path.data()), nullptr);
        path_ = path;
        ::setenv("TMPDIR", path.c_str(), 1);
    }
    ~Folder() {
        ::unsetenv("TMPDIR");
        fs::remove_all(path_);
    }
    [[nodiscard]] std::string operator/(const std::string& name) const { return path_ / name; }

  private:
    fs::path path_;
};

UniqueFd listen_at(const std::string& path) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << path;
    EXPECT_EQ(::listen(fd.get(), 4), 0);
    return fd;
}

/// A process of a user, standing for a QEMU. Listens on the path that it is sent, if it is.
class Qemu {
  public:
    explicit Qemu(uid_t user) {
        SocketPair pair = SocketPair::make().value();
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::setresgid(user, user, user) != 0 || ::setresuid(user, user, user) != 0)
                ::_exit(1);
            // Dumpable again, so that /proc/PID belongs to the user.
            ::prctl(PR_SET_DUMPABLE, 1);
            (void)!::write(pair.theirs.get(), "r", 1);
            char path[128] = {};
            if (::read(pair.theirs.get(), path, sizeof path - 1) <= 0)
                ::_exit(0);
            const UniqueFd listener = listen_at(path);
            (void)!::write(pair.theirs.get(), "l", 1);
            ::pause();
        }
        ours_ = std::move(pair.ours);
        wait();
    }
    ~Qemu() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    [[nodiscard]] pid_t pid() const { return pid_; }
    void listen(const std::string& path) {
        EXPECT_EQ(::write(ours_.get(), path.c_str(), path.size() + 1),
                  static_cast<ssize_t>(path.size() + 1));
        wait();
    }

  private:
    void wait() {
        char done = 0;
        EXPECT_EQ(::read(ours_.get(), &done, 1), 1);
    }
    UniqueFd ours_;
    pid_t pid_ = -1;
};

uid_t owner_of(const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
    return status.st_uid;
}

TEST(PrivateDirectory, LeavesNothingBehind) {
    const Folder folder;
    Qemu qemu(::geteuid());
    std::string path;
    {
        const PrivateDirectory directory = PrivateDirectory::make(qemu.pid()).value();
        path = directory.path();
        EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_all);
        qemu.listen(path + "/incoming");
        EXPECT_TRUE(directory.connect("incoming", 1s));
    }
    EXPECT_FALSE(fs::exists(path));
}

TEST(PrivateDirectory, BelongsToTheProcesssUser) {
    if (::geteuid() != 0)
        GTEST_SKIP() << "needs root";
    const Folder folder;
    const Qemu qemu(nobody);
    const PrivateDirectory directory = PrivateDirectory::make(qemu.pid()).value();
    EXPECT_EQ(owner_of(directory.path()), nobody);
}

/// The attack of a user who may write to $TMPDIR: the directory is replaced by a link to a victim
/// between its creation and its chown. A chown by path gave the victim away.
TEST(PrivateDirectory, IsGivenAwayByItsDescriptor) {
    if (::geteuid() != 0)
        GTEST_SKIP() << "needs root";
    const Folder folder;
    const Qemu qemu(nobody);
    fs::create_directory(folder / "victim");
    PrivateDirectory directory = PrivateDirectory::make().value();
    fs::rename(directory.path(), folder / "moved");
    fs::create_directory_symlink(folder / "victim", directory.path());
    ASSERT_TRUE(directory.give_to(qemu.pid()));
    EXPECT_EQ(owner_of(folder / "victim"), 0U);
    EXPECT_EQ(owner_of(folder / "moved"), nobody);
}

/// The attack of the directory's new owner: the socket is replaced by a link to a socket of root.
TEST(PrivateDirectory, ConnectsToItsOwnerOnly) {
    if (::geteuid() != 0)
        GTEST_SKIP() << "needs root";
    const Folder folder;
    const Qemu qemu(nobody);
    const PrivateDirectory directory = PrivateDirectory::make(qemu.pid()).value();
    const UniqueFd of_root = listen_at(folder / "root.sock");
    fs::create_symlink(folder / "root.sock", directory.path() + "/incoming");
    for (const bool by_pid : {true, false}) {
        const auto fd = directory.connect("incoming", 1s, by_pid);
        ASSERT_FALSE(fd);
        EXPECT_NE(fd.error().message.find("expected process"), std::string::npos)
            << fd.error().message;
    }
}

/// Another VM's QEMU, of the same user, listens in the place of this VM's.
TEST(PrivateDirectory, TellsTwoProcessesOfAUserApart) {
    const Folder folder;
    const Qemu qemu(::geteuid());
    Qemu other(::geteuid());
    const PrivateDirectory directory = PrivateDirectory::make(qemu.pid()).value();
    other.listen(directory.path() + "/incoming");
    EXPECT_FALSE(directory.connect("incoming", 1s));
    EXPECT_TRUE(directory.connect("incoming", 1s, false));
}

/// A link of the owner is removed with the directory, and not followed.
TEST(PrivateDirectory, RemovesNoLinksTarget) {
    const Folder folder;
    fs::create_directory(folder / "victim");
    fs::create_directory(folder / "victim/inside");
    {
        const PrivateDirectory directory = PrivateDirectory::make(::getpid()).value();
        fs::create_directory_symlink(folder / "victim", directory.path() + "/link");
    }
    EXPECT_TRUE(fs::exists(folder / "victim/inside"));
}

}  // namespace
}  // namespace gc::util

// SPDX-License-Identifier: GPL-2.0-or-later
// A real QEMU, started paused, for tests.
#pragma once

#include "qmp/client.h"

#include <csignal>
#include <gtest/gtest.h>
#include <string>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace gc::qmp {

/// A paused QEMU whose monitor is one end of a socketpair.
class PausedQemu {
  public:
    explicit PausedQemu(std::vector<std::string> arguments) {
        int ends[2];
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        ours_ = UniqueFd(ends[0]);
        const UniqueFd theirs(ends[1]);
        std::vector<std::string> full = {"qemu-system-x86_64",
                                         "-nodefaults",
                                         "-display",
                                         "none",
                                         "-S",
                                         "-accel",
                                         "tcg",
                                         "-chardev",
                                         fmt::format("socket,id=mon,fd={}", theirs.get()),
                                         "-mon",
                                         "chardev=mon,mode=control"};
        full.insert(full.end(), arguments.begin(), arguments.end());
        std::vector<char*> argv;
        for (std::string& argument : full)
            argv.push_back(argument.data());
        argv.push_back(nullptr);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::close(ours_.get());
            ::execvp(argv[0], argv.data());
            ::_exit(127);
        }
    }
    ~PausedQemu() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Client connect() {
        auto client = Client::from_fd(std::move(ours_), std::chrono::seconds(30), "QEMU");
        EXPECT_TRUE(client) << client.error().message;
        return std::move(*client);
    }
    [[nodiscard]] pid_t pid() const { return pid_; }

  private:
    UniqueFd ours_;
    pid_t pid_ = -1;
};

}  // namespace gc::qmp

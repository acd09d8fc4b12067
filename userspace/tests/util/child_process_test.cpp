// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/child_process.h"

#include "util/poll.h"

#include <array>
#include <csignal>
#include <gtest/gtest.h>
#include <unistd.h>

namespace gc {
namespace {

using namespace std::chrono_literals;

struct Pipe {
    UniqueFd read, write;
    Pipe() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::pipe(ends.data()), 0);
        read = UniqueFd(ends[0]);
        write = UniqueFd(ends[1]);
    }
    /// What is there, up to the end of the file.
    std::string text() {
        write.reset();
        std::string text;
        std::array<char, 256> buffer{};
        for (;;) {
            const auto got = read_some(read.get(), std::as_writable_bytes(std::span(buffer)));
            if (!got || *got == 0)
                return text;
            text.append(buffer.data(), *got);
        }
    }
};

TEST(ChildProcess, ExitsWithWhatItsWorkReturns) {
    auto child = ChildProcess::fork([] { return 42; });
    ASSERT_TRUE(child) << child.error().message;
    EXPECT_TRUE(wait_readable(child->fd(), 10s).value());
    EXPECT_EQ(child->wait(), 42);
}

TEST(ChildProcess, MayBeEndedByASignal) {
    auto child = ChildProcess::fork([] {
        ::pause();
        return 0;
    });
    ASSERT_TRUE(child) << child.error().message;
    child->signal(SIGKILL);
    EXPECT_EQ(child->wait(), 128 + SIGKILL);
}

TEST(ChildProcess, HasAProcessGroupOfItsOwn) {
    auto child = ChildProcess::fork([] { return ::getpgrp() == ::getpid() ? 0 : 1; });
    ASSERT_TRUE(child) << child.error().message;
    EXPECT_EQ(child->wait(), 0);

    Pipe output;
    auto program =
        ChildProcess::spawn({"/bin/sh", "-c", "test $(cut -d' ' -f5 /proc/$$/stat) = $$"},
                            output.write.get(), output.write.get());
    ASSERT_TRUE(program) << program.error().message;
    EXPECT_EQ(program->wait(), 0) << output.text();
}

TEST(ChildProcess, IsAProgramWithItsOutput) {
    Pipe output;
    Pipe errors;
    auto child = ChildProcess::spawn(
        {"/bin/sh", "-c", "echo \"$1\"; cat; echo oops >&2; exit 3", "sh", "two  words"},
        output.write.get(), errors.write.get());
    ASSERT_TRUE(child) << child.error().message;
    EXPECT_EQ(child->wait(), 3);
    EXPECT_EQ(output.text(), "two  words\n");
    EXPECT_EQ(errors.text(), "oops\n");
}

TEST(ChildProcess, BlocksNoSignalThatItsParentBlocks) {
    sigset_t set;
    sigset_t before;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    Pipe output;
    auto child = ChildProcess::spawn({"/bin/sh", "-c", "kill -TERM $$; exit 0"}, output.write.get(),
                                     output.write.get());
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ASSERT_TRUE(child) << child.error().message;
    EXPECT_EQ(child->wait(), 128 + SIGTERM);
}

TEST(ChildProcess, SaysThatThereIsNoSuchProgram) {
    Pipe output;
    const auto child =
        ChildProcess::spawn({"/nonexistent/program"}, output.write.get(), output.write.get());
    ASSERT_FALSE(child);
    EXPECT_EQ(child.error().error_number, ENOENT);
}

}  // namespace
}  // namespace gc

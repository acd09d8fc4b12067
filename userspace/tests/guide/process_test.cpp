// SPDX-License-Identifier: GPL-2.0-or-later
// The children are shells: a waiting /bin/sh acts as the source, whose program they run.
#include "guide/process.h"

#include "util/poll.h"
#include "util/process_maps.h"

#include <csignal>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace gc::guide {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A shell that waits for its input to close and has a descriptor open at 9.
class Source {
  public:
    Source() {
        int ends[2];
        EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
        hold_ = UniqueFd(ends[1]);
        const UniqueFd input(ends[0]);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::dup2(input.get(), 0);
            ::dup2(input.get(), 9);
            ::execl("/bin/sh", "sh", "-c", "cd /usr; read line; :", nullptr);
            ::_exit(127);
        }
        const auto cwd = fmt::format("/proc/{}/cwd", pid_);
        char target[16] = {};
        for (int i = 0; i < 200 && std::string_view(target) != "/usr"; ++i) {
            ::usleep(10'000);
            (void)!::readlink(cwd.c_str(), target, sizeof(target) - 1);
        }
    }
    ~Source() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    [[nodiscard]] SpawnOptions shell(const std::string& script) const {
        SpawnOptions options;
        options.source = pid_;
        options.argv = {"sh", "-c", script};
        return options;
    }

  private:
    UniqueFd hold_;
    pid_t pid_ = -1;
};

constexpr auto patience = 10s;

ExitReport outcome_of(Result<Process> process) {
    EXPECT_TRUE(process) << process.error().message;
    EXPECT_TRUE(wait_readable(process->pidfd(), patience).value());
    return process->poll_exit().value_or(ExitReport{});
}

TEST(GuideProcess, ReportsStatusAndLastWords) {
    const Source source;
    const auto report = outcome_of(Process::spawn(source.shell("echo out; echo err >&2; exit 3")));
    EXPECT_EQ(report.how, "exit status 3");
    EXPECT_EQ(report.last_words, "out\nerr");
}

TEST(GuideProcess, KeepsTheEndOfALongOutput) {
    const Source source;
    auto process = Process::spawn(source.shell("i=0; while [ $i -lt 9000 ]; do echo line $i; "
                                               "i=$((i+1)); done; echo end"));
    ASSERT_TRUE(process) << process.error().message;
    // poll_exit() also drains the output.
    while (!wait_readable(process->pidfd(), 1ms).value())
        EXPECT_FALSE(process->poll_exit() && !process->poll_exit()->how.empty() &&
                     process->output().empty());
    EXPECT_TRUE(process->poll_exit());
    EXPECT_LE(process->output().size(), 4096u);
}

TEST(GuideProcess, InheritsOnlyWhatItIsGiven) {
    const Source source;
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0) << "not close-on-exec on purpose";
    const UniqueFd read_end(ends[0]);
    const UniqueFd write_end(ends[1]);
    auto options = source.shell("ls -C /proc/$$/fd; echo hello >&7; "
                                "readlink /proc/$$/fd/0; pwd -P; env | sort");
    // Their numbers collide with open descriptors of this process.
    options.inherited = {{write_end.get(), 7}, {read_end.get(), 3}};
    auto process = Process::spawn(options);
    ASSERT_TRUE(process) << process.error().message;
    ASSERT_TRUE(wait_readable(process->pidfd(), patience).value());
    EXPECT_THAT(process->output(), HasSubstr("0  1  2  3  7\n/dev/null\n"));
    char text[16] = {};
    EXPECT_EQ(::read(read_end.get(), text, sizeof(text)), 6);
    EXPECT_STREQ(text, "hello\n");
    EXPECT_THAT(process->output(), HasSubstr("LC_ALL=C\n"));
    EXPECT_EQ(process->output().find("HOME="), std::string::npos);
}

TEST(GuideProcess, RunsInTheSourcesDirectoryInASessionOfItsOwn) {
    const Source source;
    const auto report = outcome_of(Process::spawn(source.shell(
        "pwd -P; cat /proc/self/oom_score_adj; cut -d' ' -f6 /proc/$$/stat; echo $$")));
    std::istringstream words(report.last_words);
    std::string directory, oom, session, pid;
    words >> directory >> oom >> session >> pid;
    EXPECT_EQ(directory, "/usr");
    EXPECT_EQ(oom, "1000");
    EXPECT_EQ(session, pid);
}

TEST(GuideProcess, RefusesANumberGivenTwice) {
    const Source source;
    auto options = source.shell(":");
    options.inherited = {{0, 5}, {1, 5}};
    EXPECT_EQ(Process::spawn(options).error().kind, ErrorKind::usage);
}

TEST(GuideProcess, NamesTheStepThatFailed) {
    const Source source;
    auto options = source.shell(":");
    const UniqueFd no_namespace(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    options.network_namespace = no_namespace.get();
    EXPECT_THAT(Process::spawn(options).error().message, HasSubstr("enter its network namespace"));
    options = source.shell(":");
    options.source = 0x3fffff;
    EXPECT_FALSE(Process::spawn(options));
}

TEST(GuideProcess, KillReportsAndIsIdempotent) {
    const Source source;
    auto process = Process::spawn(source.shell("exec sleep 1000"));
    ASSERT_TRUE(process);
    EXPECT_FALSE(process->poll_exit());
    auto report = process->kill();
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->how, "killed by signal 9 (Killed)");
    EXPECT_TRUE(process->kill());
    EXPECT_TRUE(process->poll_exit());
}

TEST(GuideProcess, GoesWithItsOwner) {
    const Source source;
    pid_t pid = -1;
    {
        auto process = Process::spawn(source.shell("exec sleep 1000"));
        ASSERT_TRUE(process);
        pid = process->pid();
        Process moved = std::move(*process);
        EXPECT_EQ(moved.pid(), pid);
        EXPECT_EQ(::kill(pid, 0), 0);
    }
    EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(GuideProcess, DiesWhenItsParentIsKilled) {
    const Source source;
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    const pid_t parent = ::fork();
    if (parent == 0) {
        auto options = source.shell("exec sleep 1000");
        options.inherited = {{write_end.get(), 5}};
        auto process = Process::spawn(options);
        (void)!::write(write_end.get(), process ? "y" : "n", 1);
        ::pause();
        ::_exit(0);
    }
    write_end.reset();
    char started = 0;
    ASSERT_EQ(::read(read_end.get(), &started, 1), 1);
    ASSERT_EQ(started, 'y');
    ::kill(parent, SIGKILL);
    ::waitpid(parent, nullptr, 0);
    // The pipe reaches end of file when its last writer, the guide, is gone.
    ASSERT_TRUE(wait_readable(read_end.get(), patience).value());
    EXPECT_EQ(::read(read_end.get(), &started, 1), 0);
}

}  // namespace
}  // namespace gc::guide

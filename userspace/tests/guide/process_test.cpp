// SPDX-License-Identifier: GPL-2.0-or-later
// The children are shells: a waiting /bin/sh acts as the source, whose program they run.
#include "guide/process.h"
#include "guide/rights.h"

#include "util/poll.h"
#include "util/private_socket.h"
#include "util/process_maps.h"
#include "util/whole_file.h"

#include <array>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
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

/// A process that unshares and drops what a script of it does not have, with its own view of /proc.
class Confined {
  public:
    /// @param wrapper a command that runs "sh -c 'echo ready; read line'" in confinement
    explicit Confined(const std::string& wrapper) {
        SocketPair pair = SocketPair::make().value();
        ours_ = std::move(pair.ours);
        wrapper_ = ::fork();
        if (wrapper_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::dup2(pair.theirs.get(), 0);
            ::dup2(pair.theirs.get(), 1);
            ::execl("/bin/sh", "sh", "-c",
                    ("exec " + wrapper + " sh -c 'echo ready; read line; :'").c_str(), nullptr);
            ::_exit(127);
        }
        pair.theirs.reset();
        std::array<std::byte, 6> ready{};
        EXPECT_TRUE(read_whole(ours_.get(), ready).value_or(false)) << wrapper;
        // The shell is the wrapper itself, or its child in a PID namespace.
        pid_ = wrapper_;
        const auto children = read_whole_file(fmt::format("/proc/{0}/task/{0}/children", wrapper_));
        if (children && !children->empty())
            pid_ = std::stoi(*children);
    }
    ~Confined() {
        ours_.reset();  // the shell reads end of file
        ::waitpid(wrapper_, nullptr, 0);
    }
    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] SpawnOptions shell(const std::string& script) const {
        SpawnOptions options;
        options.source = pid_;
        options.argv = {"sh", "-c", script};
        return options;
    }

  private:
    UniqueFd ours_;
    pid_t wrapper_ = -1;
    pid_t pid_ = -1;
};

std::string link_of(pid_t pid, const std::string& name) {
    return std::filesystem::read_symlink(fmt::format("/proc/{}/{}", pid, name)).string();
}

std::string status_line(pid_t pid, const std::string& key) {
    std::istringstream lines(read_whole_file(fmt::format("/proc/{}/status", pid)).value());
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with(key + ":\t"))
            return line.substr(key.size() + 2);
    return {};
}

constexpr const char* no_capabilities = "0000000000000000";

/// What a guide of this source has, while it waits.
void expect_caged(const Confined& source) {
    auto process = Process::spawn(source.shell("exec sleep 1000"));
    ASSERT_TRUE(process) << process.error().message;
    const pid_t guide = process->pid();
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
        EXPECT_EQ(status_line(guide, set), no_capabilities) << set;
    EXPECT_EQ(status_line(guide, "NoNewPrivs"), "1");
    for (const char* same : {"Uid", "Gid", "Groups"})
        EXPECT_EQ(status_line(guide, same), status_line(source.pid(), same)) << same;
    for (const char* name : {"user", "mnt", "pid", "ipc", "uts", "cgroup"})
        EXPECT_EQ(link_of(guide, std::string("ns/") + name),
                  link_of(source.pid(), std::string("ns/") + name));
    EXPECT_EQ(link_of(guide, "root"), link_of(source.pid(), "root"));
    EXPECT_EQ(read_whole_file(fmt::format("/proc/{}/cgroup", guide)).value(),
              read_whole_file(fmt::format("/proc/{}/cgroup", source.pid())).value());
    EXPECT_EQ(link_of(::getpid(), "ns/pid_for_children"), link_of(::getpid(), "ns/pid"));
    EXPECT_TRUE(process->kill());
}

class Cage : public ::testing::Test {
  protected:
    void SetUp() override {
        if (::geteuid() != 0)
            GTEST_SKIP() << "needs root";
    }
};

TEST_F(Cage, GivesRootNoCapabilities) {
    expect_caged(Confined(""));
}

TEST_F(Cage, TakesTheSourcesUserAndGroups) {
    expect_caged(Confined("setpriv --reuid 65534 --regid 65534 --groups 65534,12"));
}

/// The finding: a source without capabilities in namespaces of its own had a guide with all
/// capabilities in gcctl's namespaces.
TEST_F(Cage, TakesTheSourcesNamespaces) {
    expect_caged(Confined("unshare --mount --pid --ipc --uts --cgroup --fork --mount-proc "
                          "setpriv --bounding-set -all --inh-caps -all"));
}

TEST_F(Cage, TakesTheSourcesUserNamespace) {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "ThreadSanitizer gives a child a second thread; setns(2) then refuses";
#endif
    expect_caged(Confined("setpriv --reuid 65534 --regid 65534 --clear-groups "
                          "unshare --user --map-root-user --mount --pid --fork"));
}

TEST_F(Cage, TakesTheSourcesLimitsAndDumpsNoCore) {
    const Confined source("prlimit --nofile=77:99 --fsize=4096 --core=unlimited");
    const auto report =
        outcome_of(Process::spawn(source.shell("ulimit -n; ulimit -Hn; ulimit -f; ulimit -c")));
    EXPECT_EQ(report.last_words, "77\n99\n8\n0");
}

TEST_F(Cage, JoinsTheSourcesCgroup) {
    // Any hierarchy will do.
    std::string parent;
    for (const char* candidate :
         {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"})
        if (parent.empty() && std::filesystem::exists(std::string(candidate) + "/cgroup.procs"))
            parent = candidate;
    const auto directory = fmt::format("{}/gcctl-test-{}", parent, ::getpid());
    if (parent.empty() || ::mkdir(directory.c_str(), 0755) != 0)
        GTEST_SKIP() << "needs a cgroup file system";
    {
        const Confined source("");
        std::ofstream(directory + "/cgroup.procs") << source.pid() << std::flush;
        ASSERT_THAT(read_whole_file(fmt::format("/proc/{}/cgroup", source.pid())).value(),
                    HasSubstr("gcctl-test"));
        expect_caged(source);
    }
    ::rmdir(directory.c_str());
}

TEST_F(Cage, RefusesAFilterItCannotCopy) {
    // seccomp's strict filter of one program, installed by whoever started the source.
    const Confined source("/usr/bin/python3 -c '"
                          R"(
import ctypes, os, struct
libc = ctypes.CDLL(None)
allow = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
program = ctypes.create_string_buffer(struct.pack("H6xP", 1, ctypes.addressof(allow)))
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, program, 0, 0) == 0
import sys
os.execvp(sys.argv[1], sys.argv[1:])
)"
                          "'");
    const auto process = Process::spawn(source.shell(":"));
    ASSERT_FALSE(process);
    EXPECT_EQ(process.error().kind, ErrorKind::unsupported);
    EXPECT_THAT(process.error().message, HasSubstr("seccomp filter"));
}

/// A copy of the shell, which stands for QEMU.
class CopiedShell {
  public:
    CopiedShell() {
        std::string name = ::testing::TempDir() + "shell-XXXXXX";
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
        std::filesystem::copy_file("/bin/sh", path());
    }
    ~CopiedShell() { std::filesystem::remove_all(directory_); }
    [[nodiscard]] std::string path() const { return directory_ + "/sh"; }
    [[nodiscard]] std::string directory() const { return directory_; }

  private:
    std::string directory_;
};

/// What spawning a guide of a process that runs the file says. @param change made while it runs
std::string refusal_of_program(const std::string& path, const std::function<void()>& change) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd input(ends[0]);
    const UniqueFd hold(ends[1]);
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::dup2(input.get(), 0);
        ::execl(path.c_str(), "sh", "-c", "read line; :", nullptr);
        ::_exit(127);
    }
    for (int i = 0; i < 500 && link_of(pid, "exe") != path; ++i)
        ::usleep(10'000);
    change();
    SpawnOptions options;
    options.source = pid;
    options.argv = {"sh", "-c", ":"};
    const auto process = Process::spawn(options);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return process ? "spawned" : process.error().message;
}

TEST_F(Cage, RunsAProgramThatOnlyRootCanReplace) {
    const CopiedShell shell;
    EXPECT_EQ(refusal_of_program(shell.path(), [] {}), "spawned");
}

TEST_F(Cage, RefusesAProgramOfAnotherUser) {
    const CopiedShell shell;
    ASSERT_EQ(::chown(shell.path().c_str(), 65534, 65534), 0);
    EXPECT_THAT(refusal_of_program(shell.path(), [] {}), HasSubstr("does not belong to root"));
}

TEST_F(Cage, RefusesAProgramThatOthersCanWrite) {
    const CopiedShell shell;
    ASSERT_EQ(::chmod(shell.path().c_str(), 0775), 0);
    EXPECT_THAT(refusal_of_program(shell.path(), [] {}), HasSubstr("can be written by others"));
}

TEST_F(Cage, RefusesAProgramInADirectoryOfAnotherUser) {
    const CopiedShell shell;
    ASSERT_EQ(::chown(shell.directory().c_str(), 65534, 65534), 0);
    EXPECT_THAT(refusal_of_program(shell.path(), [] {}),
                HasSubstr(shell.directory() + " does not"));
}

TEST_F(Cage, RefusesAProgramThatWasReplaced) {
    const CopiedShell shell;
    EXPECT_THAT(refusal_of_program(shell.path(),
                                   [&] {
                                       std::filesystem::remove(shell.path());
                                       std::filesystem::copy_file("/bin/sh", shell.path());
                                   }),
                HasSubstr("upgraded since the VM started"));
}

TEST_F(Cage, MakesOutputPrintable) {
    const Source source;
    const auto report = outcome_of(Process::spawn(source.shell("printf 'a\\033[2Jb\\n'; exit 1")));
    EXPECT_EQ(report.last_words, "a?[2Jb");
}

TEST(Rights, LabelRequests) {
    EXPECT_EQ(label_request("unconfined", "libvirt-1 (enforce)", true), "exec libvirt-1");
    EXPECT_EQ(label_request("unconfined", "a//b (complain)", true), "exec a//b");
    EXPECT_EQ(label_request("unconfined", "unconfined", true), "");
    EXPECT_EQ(label_request("gcctl (enforce)", "unconfined", true), "");
    EXPECT_EQ(label_request("x:svirt_t:s0:c1,c2", "x:svirt_t:s0:c3,c4", false),
              "x:svirt_t:s0:c3,c4");
    EXPECT_EQ(label_request("x:svirt_t:s0", "x:svirt_t:s0", false), "");
    EXPECT_EQ(label_request("kernel", "kernel", false), "");
}

TEST(Rights, IdsInUserNamespaces) {
    constexpr std::string_view map =
        "         0      65534          1\n      1000     100000      65536\n";
    EXPECT_EQ(inside_user_namespace(map, 65534).value(), 0U);
    EXPECT_EQ(inside_user_namespace(map, 100'005).value(), 1005U);
    EXPECT_EQ(inside_user_namespace(map, 0).error().kind, ErrorKind::unsupported);
    EXPECT_FALSE(inside_user_namespace(map, 165'536));
}

}  // namespace
}  // namespace gc::guide

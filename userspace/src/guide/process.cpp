// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/process.h"

#include "util/argv.h"
#include "util/poll.h"
#include "util/whole_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <grp.h>
#include <nlohmann/json.hpp>
#include <sched.h>
#include <sstream>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gc::guide {

namespace {

constexpr std::size_t max_tail = 4096;

struct Credentials {
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups;
};

/// The effective ids, from "Uid: real effective saved file" and its neighbours in /proc/PID/status.
Result<Credentials> credentials_of(pid_t pid) {
    GC_TRY(const std::string status, read_whole_file(fmt::format("/proc/{}/status", pid)));
    Credentials credentials;
    bool uid_found = false;
    std::istringstream lines(status);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string key;
        unsigned real = 0;
        words >> key;
        if (key == "Uid:" && words >> real >> credentials.uid)
            uid_found = true;
        else if (key == "Gid:")
            words >> real >> credentials.gid;
        else if (key == "Groups:")
            for (gid_t group = 0; words >> group;)
                credentials.groups.push_back(group);
    }
    if (!uid_found)
        return fail(ErrorKind::protocol, "/proc/{}/status has no Uid", pid);
    return credentials;
}

struct Program {
    std::string path;  ///< empty if the file was deleted or replaced
    UniqueFd fd;       ///< used if there is no path
};

Result<Program> program_of(pid_t pid) {
    const auto link = fmt::format("/proc/{}/exe", pid);
    Program program;
    program.fd = UniqueFd(::open(link.c_str(), O_PATH | O_CLOEXEC));
    std::array<char, PATH_MAX> target{};
    const ssize_t length = ::readlink(link.c_str(), target.data(), target.size() - 1);
    struct stat running {};
    struct stat named {};
    if (!program.fd || length < 0 || ::fstat(program.fd.get(), &running) < 0)
        return fail_errno(errno, fmt::format("find the program of process {}", pid));
    if (::stat(target.data(), &named) == 0 && named.st_dev == running.st_dev &&
        named.st_ino == running.st_ino)
        program.path = target.data();
    return program;
}

/// The step at which the child failed, sent to the parent through a pipe.
struct Failure {
    enum Step { parent_gone, session, network, directory, descriptors, identity, program } step;
    int error;
};

std::string_view describe(Failure::Step step) {
    constexpr std::array<std::string_view, 7> texts = {
        "its parent is gone",           "start a session",       "enter its network namespace",
        "enter the source's directory", "place its descriptors", "become the source's user",
        "run the source's program"};
    return texts[static_cast<std::size_t>(step)];
}

/// Everything the child needs, prepared before the fork: after it, only async-signal-safe calls are
/// allowed, because another thread may have held any lock.
struct ChildPlan {
    std::vector<char*> argv;
    std::vector<std::string> environment;
    std::vector<char*> envp;
    std::vector<InheritedFd> descriptors;  ///< sorted by number; 0, 1 and 2 among them
    std::vector<int> staged;               ///< for place_descriptors()
    std::optional<Credentials> credentials;
    Program program;
    UniqueFd directory;
    int network_namespace = -1;
    int nice = 0;
    int status_pipe = -1;
    int status_number = -1;   ///< above all descriptors
    int program_number = -1;  ///< above status_number
    pid_t parent = -1;
};

[[noreturn]] void give_up(int pipe, Failure::Step step) {
    const Failure failure{step, errno};
    (void)!::write(pipe, &failure, sizeof(failure));
    ::_exit(127);
}

/// Moves every descriptor to its number and closes all others. A number may collide with a
/// descriptor not yet moved, so all of them are first duplicated above the highest number.
bool place_descriptors(ChildPlan& plan) {
    const int above = plan.program_number + 1;
    for (std::size_t i = 0; i < plan.descriptors.size(); ++i)
        if ((plan.staged[i] = ::fcntl(plan.descriptors[i].fd, F_DUPFD, above)) < 0)
            return false;
    const int program = ::fcntl(plan.program.fd.get(), F_DUPFD, above);
    const int status = ::fcntl(plan.status_pipe, F_DUPFD, above);
    if (program < 0 || status < 0 || ::dup3(program, plan.program_number, O_CLOEXEC) < 0 ||
        ::dup3(status, plan.status_number, O_CLOEXEC) < 0)
        return false;
    plan.status_pipe = plan.status_number;
    int next = 0;
    for (std::size_t i = 0; i < plan.descriptors.size(); ++i) {
        const int number = plan.descriptors[i].number;
        if (::dup2(plan.staged[i], number) < 0)
            return false;
        if (number > next)
            ::close_range(static_cast<unsigned>(next), static_cast<unsigned>(number - 1), 0);
        next = number + 1;
    }
    if (plan.status_number > next)
        ::close_range(static_cast<unsigned>(next), static_cast<unsigned>(plan.status_number - 1),
                      0);
    return ::close_range(static_cast<unsigned>(above), ~0u, 0) == 0;
}

/// If memory runs out, the guide must die first.
void prefer_for_oom_kill() {
    const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)!::write(fd, "1000", 4);
    // A core dump of the guide would hold the guest's memory.
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
}

bool take_identity(const Credentials& credentials) {
    return ::setgroups(credentials.groups.size(), credentials.groups.data()) == 0 &&
           ::setresgid(credentials.gid, credentials.gid, credentials.gid) == 0 &&
           ::setresuid(credentials.uid, credentials.uid, credentials.uid) == 0;
}

void reset_signals() {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    for (int signal = 1; signal < NSIG; ++signal)
        ::sigaction(signal, &action, nullptr);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void run_child(ChildPlan& plan) {
    reset_signals();
    if (::setsid() < 0)
        give_up(plan.status_pipe, Failure::session);
    if (plan.network_namespace >= 0 && ::setns(plan.network_namespace, CLONE_NEWNET) < 0)
        give_up(plan.status_pipe, Failure::network);
    if (::fchdir(plan.directory.get()) < 0)
        give_up(plan.status_pipe, Failure::directory);
    if (!place_descriptors(plan))
        give_up(plan.status_pipe, Failure::descriptors);
    prefer_for_oom_kill();
    if (plan.nice != 0)
        (void)!::nice(plan.nice);
    if (plan.credentials && !take_identity(*plan.credentials))
        give_up(plan.status_pipe, Failure::identity);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    // After take_identity(), which clears it. The parent may already be gone.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != plan.parent)
        give_up(plan.status_pipe, Failure::parent_gone);
    if (!plan.program.path.empty())
        ::execve(plan.program.path.c_str(), plan.argv.data(), plan.envp.data());
    else
        ::syscall(SYS_execveat, plan.program_number, "", plan.argv.data(), plan.envp.data(),
                  AT_EMPTY_PATH);
    give_up(plan.status_pipe, Failure::program);
}

/// The few variables that QEMU reads: the directories of modules and temporary files. Settings of
/// the dynamic linker are not passed on: they would choose the code that runs.
std::vector<std::string> environment_of(pid_t source, int scratch_number) {
    std::vector<std::string> environment = {"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    if (scratch_number >= 0)
        environment.push_back(fmt::format("TMPDIR=/proc/self/fd/{}", scratch_number));
    const auto theirs = read_whole_file(fmt::format("/proc/{}/environ", source));
    std::istringstream entries(theirs.value_or(""));
    for (std::string entry; std::getline(entries, entry, '\0');)
        if (entry.starts_with("QEMU_MODULE_DIR="))
            environment.push_back(entry);
    return environment;
}

/// Sorts the descriptors and numbers those of the plan above them.
Result<void> number_descriptors(ChildPlan& plan, const SpawnOptions& options, int null_fd,
                                int output_fd) {
    plan.descriptors = {{null_fd, 0}, {output_fd, 1}, {output_fd, 2}};
    plan.descriptors.insert(plan.descriptors.end(), options.inherited.begin(),
                            options.inherited.end());
    const auto by_number = [](const InheritedFd& a, const InheritedFd& b) {
        return a.number < b.number;
    };
    std::sort(plan.descriptors.begin(), plan.descriptors.end(), by_number);
    int last = -1;
    for (const InheritedFd& descriptor : plan.descriptors) {
        if (descriptor.number == last || descriptor.number < 0)
            return fail(ErrorKind::usage, "descriptor number {} is given twice", last);
        last = descriptor.number;
    }
    if (options.scratch >= 0)
        plan.descriptors.push_back({options.scratch, ++last});
    plan.environment = environment_of(options.source, options.scratch >= 0 ? last : -1);
    plan.status_number = last + 1;
    plan.program_number = last + 2;
    plan.staged.resize(plan.descriptors.size());
    return {};
}

/// Waits for exec, which closes the pipe, or for the step that failed.
Result<void> await_exec(int status_pipe) {
    Failure failure{};
    GC_TRY(const auto got, read_some(status_pipe, std::as_writable_bytes(std::span(&failure, 1))));
    if (got == 0)
        return {};
    return fail_errno(failure.error, fmt::format("the guide could not {}", describe(failure.step)));
}

struct Pipe {
    UniqueFd read_end;
    UniqueFd write_end;
};

Result<Pipe> make_pipe(int flags) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | flags) < 0)
        return fail_errno(errno, "pipe");
    return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)),
      output_(std::move(other.output_)), tail_(std::move(other.tail_)),
      report_(std::move(other.report_)) {}

Process& Process::operator=(Process&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(pidfd_, other.pidfd_);
    std::swap(output_, other.output_);
    std::swap(tail_, other.tail_);
    std::swap(report_, other.report_);
    return *this;
}

Process::~Process() {
    if (pid_ > 0 && !report_)
        (void)kill();
}

Result<Process> Process::spawn(const SpawnOptions& options) {
    ChildPlan plan;
    GC_TRY(plan.program, program_of(options.source));
    if (::geteuid() == 0) {
        GC_TRY(plan.credentials, credentials_of(options.source));
    }
    const auto directory = fmt::format("/proc/{}/cwd", options.source);
    plan.directory = UniqueFd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!plan.directory)
        return fail_errno(errno, "open " + directory);
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null)
        return fail_errno(errno, "open /dev/null");
    // Non-blocking: a guide whose output nobody reads loses output instead of hanging.
    GC_TRY(Pipe output, make_pipe(O_NONBLOCK));
    GC_TRY(Pipe status, make_pipe(0));
    GC_CHECK(number_descriptors(plan, options, null.get(), output.write_end.get()));
    plan.argv = argv_of(options.argv);
    plan.envp = argv_of(plan.environment);
    plan.network_namespace = options.network_namespace;
    plan.nice = options.nice;
    plan.status_pipe = status.write_end.get();
    plan.parent = ::getpid();

    Process process;
    process.pid_ = ::fork();
    if (process.pid_ < 0)
        return fail_errno(errno, "fork");
    if (process.pid_ == 0)
        run_child(plan);
    process.pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid_, 0)));
    process.output_ = std::move(output.read_end);
    if (!process.pidfd_)
        return fail_errno(errno, "pidfd_open");
    status.write_end.reset();
    GC_CHECK(await_exec(status.read_end.get()));
    return process;
}

void Process::drain() {
    std::array<char, 4096> chunk;
    for (;;) {
        const ssize_t got = ::read(output_.get(), chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return;
        tail_.append(chunk.data(), static_cast<std::size_t>(got));
        if (tail_.size() > max_tail)
            tail_.erase(0, tail_.size() - max_tail);
    }
}

std::string Process::output() {
    drain();
    return tail_;
}

/// @param flags of waitpid(2); with WNOHANG, an empty `how` means that it is still running
Result<ExitReport> Process::reap(int flags) {
    int status = 0;
    pid_t reaped = -1;
    while ((reaped = ::waitpid(pid_, &status, flags)) < 0 && errno == EINTR) {
    }
    if (reaped < 0)
        return fail_errno(errno, fmt::format("wait for the guide (process {})", pid_));
    ExitReport report;
    if (reaped == 0)
        return report;
    drain();
    report.wait_status = status;
    report.how = WIFSIGNALED(status) ? fmt::format("killed by signal {} ({})", WTERMSIG(status),
                                                   ::strsignal(WTERMSIG(status)))
                                     : fmt::format("exit status {}", WEXITSTATUS(status));
    report.last_words = tail_;
    while (!report.last_words.empty() &&
           std::isspace(static_cast<unsigned char>(report.last_words.back())))
        report.last_words.pop_back();
    report_ = report;
    return report;
}

std::optional<ExitReport> Process::poll_exit() {
    if (pid_ <= 0 || report_)
        return report_;
    drain();
    (void)reap(WNOHANG);
    return report_;
}

Result<ExitReport> Process::kill(std::chrono::milliseconds timeout) {
    if (report_)
        return *report_;
    if (pid_ <= 0)
        return fail(ErrorKind::usage, "there is no guide to kill");
    // Safe: the process is not reaped yet, so its pid cannot be reused.
    ::kill(pid_, SIGKILL);
    const Deadline deadline(timeout);
    for (;;) {
        GC_TRY(auto report, reap(WNOHANG));
        if (!report.how.empty())
            return report;
        if (deadline.expired())
            return fail(ErrorKind::io, "the guide (process {}) did not end after SIGKILL", pid_);
        (void)wait_readable(pidfd_.get(), std::chrono::milliseconds(50));
    }
}

}  // namespace gc::guide

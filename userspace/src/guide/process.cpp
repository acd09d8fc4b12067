// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/process.h"

#include "guide/program.h"
#include "guide/rights.h"
#include "util/argv.h"
#include "util/capabilities.h"
#include "util/pidfd.h"
#include "util/poll.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gc::guide {

namespace {

constexpr std::size_t max_tail = 4096;

/// The step at which the child failed, sent to the parent through a pipe.
struct Failure {
    enum Step {
        parent_gone,
        session,
        cgroup,
        label,
        network,
        user,
        namespaces,
        root,
        directory,
        descriptors,
        limits,
        capabilities,
        program
    } step;
    int error;
};

std::string_view describe(Failure::Step step) {
    constexpr std::array<std::string_view, 13> texts = {"its parent is gone",
                                                        "start a session",
                                                        "join the source's cgroup",
                                                        "take the source's LSM label",
                                                        "enter its network namespace",
                                                        "become the source's user",
                                                        "enter the source's namespaces",
                                                        "enter the source's root directory",
                                                        "enter the source's directory",
                                                        "place its descriptors",
                                                        "take the source's resource limits",
                                                        "drop its capabilities",
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
    Rights rights;
    std::string label_path;
    Program program;
    UniqueFd directory;
    int network_namespace = -1;
    int nice = 0;
    int status_pipe = -1;
    int status_number = -1;   ///< above all descriptors
    int program_number = -1;  ///< above status_number
    pid_t parent = -1;        ///< as the child sees it; 0 from another PID namespace
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
    const int program = ::fcntl(plan.program.file.get(), F_DUPFD, above);
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
}

bool join_cgroups(const Rights& rights) {
    return std::all_of(rights.cgroups.begin(), rights.cgroups.end(), [](const UniqueFd& procs) {
        return ::write(procs.get(), "0", 1) == 1;  // 0: the writer
    });
}

/// Takes effect at exec.
bool request_label(const ChildPlan& plan) {
    const std::string& label = plan.rights.label;
    if (label.empty())
        return true;
    const int fd = ::open(plan.label_path.c_str(), O_WRONLY | O_CLOEXEC);
    return fd >= 0 && ::write(fd, label.data(), label.size()) == static_cast<ssize_t>(label.size());
}

bool enter_root(const Rights& rights) {
    return !rights.root || (::fchdir(rights.root.get()) == 0 && ::chroot(".") == 0);
}

bool take_limits(const Rights& rights) {
    for (std::size_t i = 0; i < rights.limits.size(); ++i)
        if (::setrlimit(static_cast<__rlimit_resource>(i), &rights.limits[i]) != 0)
            return false;
    return true;
}

/// Leaves no capability to this process and its programs, whatever its user. After joining a user
/// namespace, which gives all of them.
bool empty_bounding_set() {
    for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
        if (::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1 &&
            ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            // Only an unprivileged gcctl may not. Then no_new_privs keeps the guide from more.
            return errno == EPERM && ::geteuid() != 0;
    return true;
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

/// The steps that need /proc or rights of gcctl, in gcctl's namespaces.
void prepare_outside(ChildPlan& plan) {
    if (::setsid() < 0)
        give_up(plan.status_pipe, Failure::session);
    if (!join_cgroups(plan.rights))
        give_up(plan.status_pipe, Failure::cgroup);
    if (!request_label(plan))
        give_up(plan.status_pipe, Failure::label);
    prefer_for_oom_kill();
    if (plan.nice != 0)
        (void)!::nice(plan.nice);
    if (plan.network_namespace >= 0 && ::setns(plan.network_namespace, CLONE_NEWNET) < 0)
        give_up(plan.status_pipe, Failure::network);
    // Here, as a user namespace may forbid it, or not know a group.
    const std::vector<gid_t>& groups = plan.rights.groups;
    if (plan.rights.other_user && ::setgroups(groups.size(), groups.data()) != 0)
        give_up(plan.status_pipe, Failure::user);
}

/// Enters the source's namespaces and gives up every right that the source may lack.
void take_rights(ChildPlan& plan) {
    const Rights& rights = plan.rights;
    // In one call: the kernel enters the user namespace first, whose capabilities the others need.
    if (rights.namespaces != 0 && ::setns(rights.pidfd.get(), rights.namespaces) < 0)
        give_up(plan.status_pipe, Failure::namespaces);
    if (!enter_root(rights))
        give_up(plan.status_pipe, Failure::root);
    if (::fchdir(plan.directory.get()) < 0)
        give_up(plan.status_pipe, Failure::directory);
    if (!place_descriptors(plan))
        give_up(plan.status_pipe, Failure::descriptors);
    if (!take_limits(rights))
        give_up(plan.status_pipe, Failure::limits);
    if (!empty_bounding_set())
        give_up(plan.status_pipe, Failure::capabilities);
    if (rights.other_user && (::setresgid(rights.gid, rights.gid, rights.gid) != 0 ||
                              ::setresuid(rights.uid, rights.uid, rights.uid) != 0))
        give_up(plan.status_pipe, Failure::user);
    if (!drop_capabilities() || (!rights.sandbox_refuses && !refuse_new_privileges()))
        give_up(plan.status_pipe, Failure::capabilities);
}

[[noreturn]] void run_child(ChildPlan& plan) {
    reset_signals();
    prepare_outside(plan);
    take_rights(plan);
    // After setresuid(), which clears it. The parent may already be gone.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != plan.parent)
        give_up(plan.status_pipe, Failure::parent_gone);
    // In the source's mount namespace the path may be another file.
    if (!plan.rights.root)
        ::execve(plan.program.path.c_str(), plan.argv.data(), plan.envp.data());
    else
        ::syscall(SYS_execveat, plan.program_number, "", plan.argv.data(), plan.envp.data(),
                  AT_EMPTY_PATH);
    give_up(plan.status_pipe, Failure::program);
}

/// fork(2), with the child in the source's PID namespace. This thread stays in its own.
Result<pid_t> fork_into(const Rights& rights) {
    if (!rights.pid_namespace) {
        const pid_t child = ::fork();
        return child >= 0 ? Result<pid_t>(child) : fail_errno(errno, "fork");
    }
    const UniqueFd own(::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
    if (!own || ::setns(rights.pidfd.get(), CLONE_NEWPID) != 0)
        return fail_errno(errno, "the guide could not enter the source's PID namespace");
    const pid_t child = ::fork();
    if (child == 0)
        return child;
    const int fork_errno = errno;
    // Always possible: a process may choose its own PID namespace.
    if (::setns(own.get(), CLONE_NEWPID) != 0)
        return fail_errno(errno, "return from the source's PID namespace");
    return child > 0 ? Result<pid_t>(child) : fail_errno(fork_errno, "fork");
}

/// The few variables that QEMU reads: the directories of modules and temporary files. That of the
/// modules is gcctl's, as those are code; the source's environment is the source's to write.
std::vector<std::string> make_environment(int scratch_number) {
    std::vector<std::string> environment = {"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
    if (scratch_number >= 0)
        environment.push_back(fmt::format("TMPDIR=/proc/self/fd/{}", scratch_number));
    if (const char* modules = std::getenv("QEMU_MODULE_DIR"))
        environment.push_back(fmt::format("QEMU_MODULE_DIR={}", modules));
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
    plan.environment = make_environment(options.scratch >= 0 ? last : -1);
    plan.environment.insert(plan.environment.end(), options.environment.begin(),
                            options.environment.end());
    plan.status_number = last + 1;
    plan.program_number = last + 2;
    plan.staged.resize(plan.descriptors.size());
    return {};
}

/// Waits for exec, which closes the pipe, or for the step that failed.
Result<void> await_exec(int status_pipe, const Rights& rights) {
    Failure failure{};
    GC_TRY(const auto got, read_some(status_pipe, std::as_writable_bytes(std::span(&failure, 1))));
    if (got == 0)
        return {};
    auto what = fmt::format("the guide could not {}", describe(failure.step));
    if (failure.step == Failure::program && !rights.label.empty())
        what += fmt::format(" with the source's LSM label ({})", rights.label);
    // What the child may not do, a guide of this source cannot have.
    if (failure.error == EPERM || failure.error == EACCES || failure.error == EINVAL)
        return fail(ErrorKind::unsupported, "{}: {}; migrate with --guide off", what,
                    std::strerror(failure.error));
    return fail_errno(failure.error, what);
}

/// A guide's output goes to the operator's terminal, and a guest may have a hand in it.
std::string printable(std::string text) {
    for (char& c : text)
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f)
            c = '?';
    return text;
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

/// Does what PR_SET_PDEATHSIG does not for a program that gets another LSM label, as the kernel
/// then forgets the signal (apparmor_bprm_committing_creds() in security/apparmor/lsm.c,
/// begin_new_exec() in fs/exec.c; Linux 6.1).
Result<std::unique_ptr<Guardian>> kill_with_gcctl(int pidfd) {
    const auto kill = [pidfd](std::uint8_t) {
        return ::pidfd_send_signal(pidfd, SIGKILL, nullptr, 0) == 0 ? 0 : 1;
    };
    GC_TRY(Guardian guardian, Guardian::start(kill, std::array{pidfd}));
    guardian.arm();
    return std::make_unique<Guardian>(std::move(guardian));
}

}  // namespace

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)),
      output_(std::move(other.output_)), tail_(std::move(other.tail_)),
      report_(std::move(other.report_)), guardian_(std::move(other.guardian_)) {}

Process& Process::operator=(Process&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(pidfd_, other.pidfd_);
    std::swap(output_, other.output_);
    std::swap(tail_, other.tail_);
    std::swap(report_, other.report_);
    std::swap(guardian_, other.guardian_);
    return *this;
}

Process::~Process() {
    if (pid_ > 0 && !report_)
        (void)kill();
}

Result<Process> Process::spawn(const SpawnOptions& options) {
    ChildPlan plan;
    GC_TRY(plan.rights, Rights::of(options.source));
    GC_TRY(plan.program, Program::of(options.source));
    // A process that becomes another user does so by executing another program.
    GC_CHECK(plan.rights.check_unchanged());
    plan.label_path = fmt::format("/proc/thread-self/{}", plan.rights.label_file);
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
    plan.parent = plan.rights.pid_namespace ? 0 : ::getpid();

    Process process;
    GC_TRY(process.pid_, fork_into(plan.rights));
    if (process.pid_ == 0)
        run_child(plan);
    process.pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid_, 0)));
    process.output_ = std::move(output.read_end);
    if (!process.pidfd_)
        return fail_errno(errno, "pidfd_open");
    status.write_end.reset();
    GC_CHECK(await_exec(status.read_end.get(), plan.rights));
    if (!plan.rights.label.empty()) {
        GC_TRY(process.guardian_, kill_with_gcctl(process.pidfd_.get()));
    }
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
    return printable(tail_);
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
    report.last_words = printable(tail_);
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

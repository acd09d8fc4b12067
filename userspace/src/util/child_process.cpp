// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/child_process.h"

#include "util/argv.h"
#include "util/pidfd.h"
#include "util/spawn_attributes.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gc {
inline namespace util {

Result<ChildProcess> ChildProcess::of(pid_t pid) {
    UniqueFd pidfd(::pidfd_open(pid, 0));
    if (pidfd)
        return ChildProcess(pid, std::move(pidfd));
    const int saved_errno = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return fail_errno(saved_errno, "pidfd_open");
}

Result<ChildProcess> ChildProcess::fork(const std::function<int()>& work) {
    const pid_t pid = ::fork();
    if (pid < 0)
        return fail_errno(errno, "fork");
    if (pid == 0) {
        ::setpgid(0, 0);
        ::_exit(work());
    }
    ::setpgid(pid, pid);  // both do it: whichever runs first
    return of(pid);
}

Result<ChildProcess> ChildProcess::spawn(const std::vector<std::string>& command, int output,
                                         int errors) {
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    const SpawnAttributes attributes(POSIX_SPAWN_SETPGROUP);
    pid_t pid = -1;
    const int error = ::posix_spawn(&pid, command.front().c_str(), &actions, attributes.get(),
                                    argv_of(command).data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        return fail_errno(error, fmt::format("start {}", command.front()));
    return of(pid);
}

void ChildProcess::signal(int number) const {
    (void)::pidfd_send_signal(pidfd_.get(), number, nullptr, 0);
}

int ChildProcess::wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0)
        if (errno != EINTR)
            return 128;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/trial.h"

#include "util/capabilities.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gc::policy {
namespace {

constexpr rlim_t max_cpu_seconds = 5;

void give_up_rights() {
    (void)drop_capabilities();
    (void)refuse_new_privileges();
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    const rlimit cpu{max_cpu_seconds, max_cpu_seconds};
    ::setrlimit(RLIMIT_CPU, &cpu);
    // A sanitizer's report of a crash that is expected would only confuse.
    if (const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC); nowhere >= 0)
        ::dup2(nowhere, STDERR_FILENO);
}

std::string end_of(int status) {
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL))
        return fmt::format("libbpf did not finish within {} s of CPU time", max_cpu_seconds);
    if (WIFSIGNALED(status))
        return fmt::format("libbpf crashed on it ({})", ::strsignal(WTERMSIG(status)));
    return fmt::format("libbpf ended on it with status {}", WEXITSTATUS(status));
}

}  // namespace

Result<void> try_in_child(const std::string& name, const std::function<void()>& attempt) {
    const pid_t child = ::fork();
    if (child < 0)
        return fail_errno(errno, "fork");
    if (child == 0) {
        give_up_rights();
        attempt();
        ::_exit(0);
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return fail_errno(errno, "waitpid");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return {};
    return fail(ErrorKind::unsupported,
                "{}: {}; the file is damaged: compile it again (clang -O2 -g --target=bpf)", name,
                end_of(status));
}

}  // namespace gc::policy

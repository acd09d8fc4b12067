// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor/child.h"

#include "util/fd.h"
#include "util/poll.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gc::doctor {

namespace {

[[noreturn]] void run_and_exit(const std::function<std::string()>& work, int answer) {
    const std::string text = work();
    const bool written =
        ::write(answer, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(written ? 0 : 1);
}

Result<std::string> read_answer(int fd, std::chrono::milliseconds limit) {
    const Deadline deadline(limit);
    std::string text;
    std::array<char, 512> chunk{};
    for (;;) {
        GC_TRY(const bool in_time, wait_readable(fd, deadline));
        if (!in_time)
            return fail(ErrorKind::io, "did not end within {} ms", limit.count());
        const ssize_t got = ::read(fd, chunk.data(), chunk.size());
        if (got < 0)
            return fail_errno(errno, "read");
        if (got == 0)
            return text;
        text.append(chunk.data(), static_cast<std::size_t>(got));
    }
}

}  // namespace

Result<std::string> in_child(const std::function<std::string()>& work,
                             std::chrono::milliseconds limit) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0)
        return fail_errno(errno, "pipe");
    const UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    const pid_t pid = ::fork();
    if (pid < 0)
        return fail_errno(errno, "fork");
    if (pid == 0)
        run_and_exit(work, write_end.get());
    write_end.reset();
    auto text = read_answer(read_end.get(), limit);
    ::kill(pid, SIGKILL);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return text;
}

}  // namespace gc::doctor

// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/guardian.h"

#include "migrate/release.h"
#include "util/print.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

constexpr std::byte dismissed{'D'};
constexpr int lifeline_fd = 3;

void close_all_but_lifeline(int lifeline) {
    if (lifeline != lifeline_fd)
        ::dup2(lifeline, lifeline_fd);
    // Above all the QMP connection: QEMU serves a single client, and the guardian needs a new
    // connection.
    ::close_range(lifeline_fd + 1, ~0U, 0);
}

[[noreturn]] void guard(const std::string& source_qmp, bool was_running) {
    std::array<std::byte, 1> word{};
    const auto got = read_some(lifeline_fd, word);
    if (got && *got == 1 && word[0] == dismissed)
        std::_Exit(0);
    auto qmp = qmp::Client::connect(source_qmp, 10s);
    const Result<void> done = qmp ? run_on(*qmp, was_running, 60s) : Unexpected(qmp.error());
    if (!done)
        print_best_effort(
            stderr,
            "gcctl was killed before the VM was handed over, and the VM could not be resumed at "
            "the source: {}; run 'cont' in the source's QMP monitor\n",
            done.error().message);
    std::_Exit(done ? 0 : 1);
}

}  // namespace

Result<Guardian> Guardian::start(const std::string& source_qmp, bool was_running) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        return fail_errno(errno, "pipe");
    UniqueFd lifeline(ends[1]);
    const UniqueFd watched(ends[0]);
    const pid_t pid = ::fork();
    if (pid < 0)
        return fail_errno(errno, "fork");
    if (pid == 0) {
        ::setsid();  // Ctrl-C on the terminal must reach gcctl only
        ::signal(SIGINT, SIG_IGN);
        ::signal(SIGTERM, SIG_IGN);
        ::signal(SIGHUP, SIG_IGN);
        ::prctl(PR_SET_NAME, "gcctl-guardian");
        close_all_but_lifeline(watched.get());
        guard(source_qmp, was_running);
    }
    return Guardian(pid, std::move(lifeline));
}

Guardian::Guardian(Guardian&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), lifeline_(std::move(other.lifeline_)) {}

Guardian::~Guardian() {
    dismiss();
    if (pid_ >= 0)
        ::waitpid(pid_, nullptr, 0);
}

void Guardian::dismiss() {
    if (!lifeline_)
        return;
    (void)write_all(lifeline_.get(), std::span(&dismissed, 1));
    lifeline_.reset();
}

}  // namespace gc::migrate

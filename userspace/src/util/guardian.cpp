// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/guardian.h"

#include "util/whole_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <fcntl.h>
#include <optional>
#include <sstream>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace gc {
inline namespace util {
namespace {

constexpr std::uint8_t dismissed = 255;

void close_all_but(std::vector<int> keep) {
    std::ranges::sort(keep);
    int next = STDERR_FILENO + 1;
    for (const int fd : keep) {
        if (fd > next)
            ::close_range(static_cast<unsigned>(next), static_cast<unsigned>(fd - 1), 0);
        next = std::max(next, fd + 1);
    }
    ::close_range(static_cast<unsigned>(next), ~0U, 0);
}

void write_proc(const std::string& path, std::string_view text) {
    // Best effort: not everybody may, and not everywhere.
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (file)
        (void)!::write(file.get(), text.data(), text.size());
}

/// The mount point of the version 2 hierarchy; empty if there is none.
std::string cgroup_root() {
    const auto mounts = read_whole_file("/proc/self/mounts");
    std::istringstream lines(mounts.value_or(""));
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string device;
        std::string directory;
        std::string type;
        words >> device >> directory >> type;
        if (type == "cgroup2")
            return directory;
    }
    return {};
}

/// A control group is killed as a whole, by systemd for example: the root never is.
void leave_control_group() {
    if (const std::string root = cgroup_root(); !root.empty())
        write_proc(root + "/cgroup.procs", "0");
}

[[noreturn]] void guard(int lifeline, const std::function<int(std::uint8_t)>& act) {
    std::optional<std::uint8_t> armed;
    for (std::array<std::byte, 1> word{};;) {
        const auto got = read_some(lifeline, word);
        if (!got || *got == 0)
            break;
        armed = std::to_integer<std::uint8_t>(word[0]);
        if (armed == dismissed)
            std::_Exit(0);
    }
    try {
        std::_Exit(armed ? act(*armed) : 0);
    } catch (const std::exception&) {
        std::_Exit(1);
    }
}

}  // namespace

Result<Guardian> Guardian::start(const std::function<int(std::uint8_t)>& act,
                                 std::span<const int> keep) {
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
        for (const int ignored : {SIGINT, SIGTERM, SIGHUP})
            ::signal(ignored, SIG_IGN);
        ::prctl(PR_SET_NAME, "gcctl-guardian");
        leave_control_group();
        write_proc("/proc/self/oom_score_adj", "-1000");
        // Above all QMP connections: a QEMU serves a single client, and `act` needs a new one.
        std::vector<int> kept(keep.begin(), keep.end());
        kept.push_back(watched.get());
        close_all_but(std::move(kept));
        guard(watched.get(), act);
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

void Guardian::arm(std::uint8_t what) {
    if (lifeline_)
        (void)write_all(lifeline_.get(), std::as_bytes(std::span(&what, 1)));
}

void Guardian::dismiss() {
    if (!lifeline_)
        return;
    (void)write_all(lifeline_.get(), std::as_bytes(std::span(&dismissed, 1)));
    lifeline_.reset();
}

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor/host.h"

#include "util/argv.h"
#include "util/poll.h"
#include "util/whole_file.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

namespace gc::doctor {

bool Host::exists(const std::string& file) const {
    return ::access(path(file).c_str(), F_OK) == 0;
}

std::optional<std::string> Host::text(const std::string& file) const {
    auto text = read_whole_file(path(file));
    if (!text)
        return std::nullopt;
    constexpr const char* space = " \t\r\n";
    const auto first = text->find_first_not_of(space);
    if (first == std::string::npos)
        return "";
    return text->substr(first, text->find_last_not_of(space) - first + 1);
}

Result<UniqueFd> Host::open(const std::string& file, int flags) const {
    UniqueFd fd(::open(path(file).c_str(), flags | O_CLOEXEC));
    if (!fd)
        return fail_errno(errno, file);
    return fd;
}

std::string Host::kernel_release() const {
    return text("/proc/sys/kernel/osrelease").value_or("");
}

bool Host::has_module(const std::string& name) const {
    if (exists("/sys/module/" + name))
        return true;
    const std::string modules = "/lib/modules/" + kernel_release();
    for (const char* list : {"/modules.dep", "/modules.builtin"})
        if (text(modules + list).value_or("").find("/" + name + ".ko") != std::string::npos)
            return true;
    return false;
}

bool Host::has_capability(unsigned capability) const {
    std::istringstream lines(text("/proc/self/status").value_or(""));
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with("CapEff:"))
            return (std::strtoull(line.c_str() + 7, nullptr, 16) >> capability) & 1;
    return false;
}

namespace {

/// Reads until the program closes its end. @return false on timeout
bool read_until_closed(int fd, std::string& text) {
    const Deadline deadline(std::chrono::seconds(10));
    std::array<std::byte, 4096> chunk;
    for (;;) {
        if (!wait_readable(fd, deadline).value_or(false))
            return false;
        const auto got = read_some(fd, chunk);
        if (!got || *got == 0)
            return true;
        text.append(reinterpret_cast<const char*>(chunk.data()), *got);
    }
}

}  // namespace

Result<std::string> output_of(const std::vector<std::string>& argv) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0)
        return fail_errno(errno, "pipe");
    const UniqueFd read_end(ends[0]);
    UniqueFd write_end(ends[1]);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    std::vector<char*> arguments = argv_of(argv);
    pid_t pid = -1;
    const int error =
        ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        return fail_errno(error, "run " + argv[0]);
    write_end.reset();
    std::string text;
    const bool in_time = read_until_closed(read_end.get(), text);
    if (!in_time)
        ::kill(pid, SIGKILL);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!in_time || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return fail(ErrorKind::io, "{} failed", argv[0]);
    return text;
}

}  // namespace gc::doctor

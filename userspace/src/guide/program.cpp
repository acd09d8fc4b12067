// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/program.h"

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::guide {
namespace {

constexpr std::string_view remedy =
    "install QEMU where only root can write and start the VM from there, or migrate with --guide "
    "off";

/// Why somebody other than root could replace the file, or a name in the directory; else empty.
/// An unprivileged gcctl trusts its own user, too.
std::string_view objection(const struct stat& status) {
    if (status.st_uid != 0 && status.st_uid != ::geteuid())
        return "does not belong to root";
    // In a sticky directory, only the owner of an entry can replace it.
    const bool sticky = S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX) != 0;
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky)
        return "can be written by others than its owner";
    return {};
}

/// Opens an absolute path one name at a time, following no link. Errors: unsupported, io.
Result<UniqueFd> open_trusted(const std::string& path) {
    UniqueFd at(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    std::size_t begin = 1;
    for (;;) {
        struct stat status {};
        if (!at || ::fstat(at.get(), &status) != 0)
            return fail(ErrorKind::unsupported,
                        "the source QEMU runs {}, which gcctl cannot open: {}; {}", path,
                        std::strerror(errno), remedy);
        if (const auto why = objection(status); !why.empty())
            return fail(ErrorKind::unsupported, "the source QEMU runs {}, but {} {}; {}", path,
                        begin == 1 ? "/" : path.substr(0, begin - 1), why, remedy);
        if (begin > path.size())
            return at;
        const std::size_t end = std::min(path.find('/', begin), path.size());
        at = UniqueFd(::openat(at.get(), path.substr(begin, end - begin).c_str(),
                               O_PATH | O_NOFOLLOW | O_CLOEXEC));
        begin = end + 1;
    }
}

}  // namespace

Result<Program> Program::of(pid_t source) {
    const auto link = fmt::format("/proc/{}/exe", source);
    const UniqueFd running_file(::open(link.c_str(), O_PATH | O_CLOEXEC));
    std::array<char, PATH_MAX> target{};
    const ssize_t length = ::readlink(link.c_str(), target.data(), target.size() - 1);
    struct stat running {};
    if (!running_file || length < 0 || ::fstat(running_file.get(), &running) < 0)
        return fail_errno(errno, fmt::format("find the program of process {}", source));
    Program program;
    program.path.assign(target.data(), static_cast<std::size_t>(length));
    struct stat named {};
    if (!program.path.starts_with('/') || ::stat(program.path.c_str(), &named) != 0 ||
        named.st_dev != running.st_dev || named.st_ino != running.st_ino)
        return fail(ErrorKind::unsupported,
                    "the source QEMU runs {}, which is another file on this system (QEMU was "
                    "upgraded since the VM started, or it runs in a container), and a guide must "
                    "be the same build; restart the VM, run gcctl in that container, or migrate "
                    "with --guide off",
                    program.path);
    GC_TRY(program.file, open_trusted(program.path));
    if (::fstat(program.file.get(), &named) != 0 || !S_ISREG(named.st_mode) ||
        named.st_dev != running.st_dev || named.st_ino != running.st_ino)
        return fail(ErrorKind::unsupported, "the source QEMU runs {}, which was replaced just now",
                    program.path);
    return program;
}

}  // namespace gc::guide

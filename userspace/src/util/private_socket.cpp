// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/private_socket.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace gc {
inline namespace util {
namespace {

/// Gives a path that we created to the user of a process. Needed if we are root and it is not.
Result<void> give_to(const std::string& path, pid_t pid) {
    struct stat process {};
    if (::stat(fmt::format("/proc/{}", pid).c_str(), &process) != 0)
        return fail_errno(errno, fmt::format("stat /proc/{}", pid));
    if (process.st_uid != ::geteuid() && ::chown(path.c_str(), process.st_uid, process.st_gid) != 0)
        return fail_errno(errno, fmt::format("chown {} to user {}", path, process.st_uid));
    return {};
}

}  // namespace

Result<PrivateDirectory> PrivateDirectory::make(pid_t pid) {
    const char* base = std::getenv("TMPDIR");
    std::string path = fmt::format("{}/gcctl-XXXXXX", base != nullptr ? base : "/tmp");
    if (::mkdtemp(path.data()) == nullptr)
        return fail_errno(errno, fmt::format("create directory {}", path));
    PrivateDirectory directory(path);
    GC_CHECK(give_to(path, pid));
    return directory;
}

PrivateDirectory::~PrivateDirectory() {
    if (!path_.empty()) {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
}

Result<PrivateListener> PrivateListener::make(pid_t pid) {
    GC_TRY(PrivateDirectory directory, PrivateDirectory::make(pid));
    GC_TRY(UniqueFd fd, unix_listen(directory.path() + "/socket"));
    GC_CHECK(give_to(directory.path() + "/socket", pid));
    return PrivateListener(std::move(directory), std::move(fd));
}

std::string PrivateListener::uri() const {
    return fmt::format("unix:{}/socket", directory_.path());
}

Result<UniqueFd> PrivateListener::accept(std::chrono::milliseconds timeout) {
    return accept_one(fd_.get(), timeout);
}

}  // namespace util
}  // namespace gc

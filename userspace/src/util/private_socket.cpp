// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/private_socket.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gc {
inline namespace util {
namespace {

/// Removes the files of a directory, but no directories: its owner may have put anything there.
void remove_files(int directory) {
    UniqueFd fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd)
        return;
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(fd.get()), ::closedir);
    if (!entries)
        return;
    (void)fd.release();  // closedir() closes it
    while (const dirent* entry = ::readdir(entries.get()))
        ::unlinkat(directory, entry->d_name, 0);
}

}  // namespace

Result<PrivateDirectory> PrivateDirectory::make() {
    const char* base = std::getenv("TMPDIR");
    if (base == nullptr || *base == '\0')
        base = "/tmp";
    if (*base != '/')
        return fail(ErrorKind::usage, "invalid TMPDIR '{}' (expected an absolute path)", base);
    std::string path = fmt::format("{}/gcctl-XXXXXX", base);
    if (::mkdtemp(path.data()) == nullptr)
        return fail_errno(errno, fmt::format("create directory {}", path));
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd)
        return fail_errno(errno, fmt::format("open directory {}", path));
    // Whoever can write to $TMPDIR can have replaced the directory.
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0 || status.st_uid != ::geteuid() ||
        (status.st_mode & 07777) != 0700)
        return fail(ErrorKind::io, "{} was replaced by another user; use another TMPDIR", path);
    return PrivateDirectory(std::move(path), std::move(fd));
}

Result<PrivateDirectory> PrivateDirectory::make(pid_t pid) {
    GC_TRY(PrivateDirectory directory, make());
    GC_CHECK(directory.give_to(pid));
    return directory;
}

Result<void> PrivateDirectory::give_to(pid_t pid) {
    struct stat process {};
    if (::stat(fmt::format("/proc/{}", pid).c_str(), &process) != 0)
        return fail_errno(errno, fmt::format("stat /proc/{}", pid));
    if (process.st_uid != ::geteuid() && ::fchown(fd_.get(), process.st_uid, process.st_gid) != 0)
        return fail_errno(errno, fmt::format("chown {} to user {}", path_, process.st_uid));
    owner_ = pid;
    uid_ = process.st_uid;
    return {};
}

PrivateDirectory::PrivateDirectory(PrivateDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})), fd_(std::move(other.fd_)), owner_(other.owner_),
      uid_(other.uid_) {}

PrivateDirectory::~PrivateDirectory() {
    if (path_.empty())
        return;
    remove_files(fd_.get());
    ::rmdir(path_.c_str());  // fails on a symbolic link
}

Result<UniqueFd> PrivateDirectory::connect(const std::string& name, Deadline deadline,
                                           bool by_pid) const {
    GC_TRY(UniqueFd socket,
           unix_connect(fmt::format("/proc/self/fd/{}/{}", fd_.get(), name), deadline));
    ucred listener{};
    socklen_t length = sizeof(listener);
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &listener, &length) != 0)
        return fail_errno(errno, fmt::format("{}/{}: SO_PEERCRED", path_, name));
    if (by_pid ? listener.pid != owner_ : listener.uid != uid_)
        return fail(ErrorKind::io,
                    "expected process {} to listen on {}/{}, found process {} of user {}", owner_,
                    path_, name, listener.pid, listener.uid);
    return socket;
}

Result<SocketPair> SocketPair::make() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
        return fail_errno(errno, "socketpair");
    return SocketPair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace util
}  // namespace gc

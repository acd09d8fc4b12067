// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/private_socket.h"

#include "util/process_owner.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <memory>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

Result<std::string> temporary() {
    const char* base = std::getenv("TMPDIR");
    if (base == nullptr || *base == '\0')
        return "/tmp";
    if (*base != '/')
        return fail(ErrorKind::usage, "invalid TMPDIR '{}' (expected an absolute path)", base);
    return base;
}

/// Whether a path means another file to a process: after chroot(2), or in a container.
bool has_other_paths(pid_t pid) {
    for (const char* link : {"root", "ns/mnt"}) {
        struct stat ours {
        }, its{};
        if (::stat(fmt::format("/proc/self/{}", link).c_str(), &ours) == 0 &&
            ::stat(fmt::format("/proc/{}/{}", pid, link).c_str(), &its) == 0 &&
            (ours.st_dev != its.st_dev || ours.st_ino != its.st_ino))
            return true;
    }
    return false;
}

/// Opens a directory as a process sees it. No symbolic link leads out of the process's root.
UniqueFd open_as(pid_t pid, const std::string& path) {
    const UniqueFd root(
        ::open(fmt::format("/proc/{}/root", pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    open_how how{.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                 .mode = 0,
                 .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return UniqueFd(
        static_cast<int>(::syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how)));
}

}  // namespace

Result<PrivateDirectory> PrivateDirectory::make() {
    GC_TRY(const std::string base, temporary());
    return make_in(UniqueFd(::open(base.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), base);
}

Result<PrivateDirectory> PrivateDirectory::make_in(UniqueFd parent, const std::string& base) {
    std::string name = "gcctl-XXXXXX";
    std::string path = fmt::format("/proc/self/fd/{}/{}", parent.get(), name);
    if (!parent || ::mkdtemp(path.data()) == nullptr)
        return fail_errno(errno, fmt::format("create directory {}/{}", base, name));
    name = path.substr(path.size() - name.size());
    path = fmt::format("{}{}{}", base, base.ends_with('/') ? "" : "/", name);
    UniqueFd fd(
        ::openat(parent.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd)
        return fail_errno(errno, fmt::format("open directory {}", path));
    // Whoever can write to $TMPDIR can have replaced the directory.
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0 || status.st_uid != ::geteuid() ||
        (status.st_mode & 07777) != 0700)
        return fail(ErrorKind::io, "{} was replaced by another user; use another TMPDIR", path);
    return PrivateDirectory(std::move(path), std::move(parent), std::move(fd));
}

Result<PrivateDirectory> PrivateDirectory::make_as_seen_by(pid_t pid) {
    if (!has_other_paths(pid))
        return make();
    GC_TRY(const std::string first, temporary());
    for (const std::string& base : {first, std::string("/tmp"), std::string("/run"),
                                    std::string("/var/tmp"), std::string("/")})
        if (auto made = make_in(open_as(pid, base), base))
            return made;
    return fail(ErrorKind::io,
                "process {} has another root or mount namespace, and no directory for a socket "
                "could be created there (tried {}, /tmp, /run, /var/tmp, /): {}",
                pid, first, std::strerror(errno));
}

Result<PrivateDirectory> PrivateDirectory::make(pid_t pid) {
    GC_TRY(PrivateDirectory directory, make_as_seen_by(pid));
    GC_CHECK(directory.give_to(pid));
    return directory;
}

Result<void> PrivateDirectory::give_to(pid_t pid) {
    GC_TRY(const ProcessOwner owner, owner_of_process(pid));
    if (owner.uid != ::geteuid() && ::fchown(fd_.get(), owner.uid, owner.gid) != 0)
        return fail_errno(errno, fmt::format("chown {} to user {}", path_, owner.uid));
    owner_ = pid;
    uid_ = owner.uid;
    return {};
}

PrivateDirectory::PrivateDirectory(PrivateDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})), parent_(std::move(other.parent_)),
      fd_(std::move(other.fd_)), owner_(other.owner_), uid_(other.uid_) {}

PrivateDirectory::~PrivateDirectory() {
    if (path_.empty())
        return;
    remove_files(fd_.get());
    // Not by the path, which may be another process's. Fails on a symbolic link.
    ::unlinkat(parent_.get(), path_.c_str() + path_.rfind('/') + 1, AT_REMOVEDIR);
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

// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/migration_socket.h"

#include "util/socket.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

namespace gc::libvirt {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

// Fixed: the other host's QEMU gets the path from this one.
constexpr const char* libvirt_directory = "/run/libvirt";
constexpr const char* parent = "/run/libvirt/guidecopy";

Result<UniqueFd> open_directory(const char* path) {
    UniqueFd fd(::open(path, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0)
        return fail_errno(errno, fmt::format("open {}", path));
    if (status.st_uid != ::geteuid() || (status.st_mode & 022) != 0)
        return fail(ErrorKind::unsupported,
                    "expected {} to be a directory of this user that nobody else may write to",
                    path);
    return fd;
}

/// Others must be able to pass through it.
Result<void> make_parent() {
    GC_CHECK(open_directory(libvirt_directory));
    if (::mkdir(parent, 0711) != 0 && errno != EEXIST)
        return fail_errno(errno, fmt::format("create directory {}", parent));
    GC_TRY(const UniqueFd fd, open_directory(parent));
    if (::fchmod(fd.get(), 0711) != 0)
        return fail_errno(errno, fmt::format("change the mode of {}", parent));
    return {};
}

/// Fails if one is a directory.
Result<void> remove_files(const std::string& directory) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error))
        if (::unlink(entry.path().c_str()) != 0 && errno != ENOENT)
            return fail_errno(errno, fmt::format("remove {}", entry.path().string()));
    if (error)
        return fail(ErrorKind::io, "list {}: {}", directory, error.message());
    return {};
}

}  // namespace

Result<SocketPeer> peer_of(int socket) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return fail_errno(errno, "SO_PEERCRED");
    return SocketPeer{peer.pid, peer.uid};
}

Result<void> MigrationSocket::check_name(std::string_view name) {
    constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789-_.";
    constexpr std::size_t max_size = 64;  // sun_path has room for 107 bytes of the path
    if (name.empty() || name.size() > max_size || name.front() == '.' ||
        name.find_first_not_of(allowed) != std::string_view::npos)
        return fail(ErrorKind::usage,
                    "'{}' cannot be a socket's name (expected up to {} letters, digits, '-', '_' "
                    "and '.')",
                    name, max_size);
    return {};
}

Result<MigrationSocket> MigrationSocket::make(const std::string& name, QemuUser owner) {
    GC_CHECK(make_parent());
    const std::string directory = fmt::format("{}/{}", parent, name);
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        return fail_errno(errno, "create directory " + directory);
    UniqueFd fd(::open(directory.c_str(), O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd)
        return fail_errno(errno, "open " + directory);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
        return fail(ErrorKind::unsupported, "another gcctl uses {}; choose another name",
                    directory);
    MigrationSocket made(directory, std::move(fd), owner);
    GC_CHECK(remove_files(directory));
    if (::fchown(made.lock_.get(), owner.uid, owner.gid) != 0)
        return fail_errno(errno, fmt::format("give {} to user {}", directory, owner.uid));
    return made;
}

MigrationSocket::~MigrationSocket() {
    if (directory_.empty())
        return;
    (void)remove_files(directory_);
    ::rmdir(directory_.c_str());
}

std::string MigrationSocket::path(std::string_view domain) const {
    std::string path = fmt::format("{}/m.tunnelmigrate.dest.{}", directory_, domain);
    return path.size() < sizeof(sockaddr_un::sun_path) ? path : directory_ + "/migration";
}

std::string MigrationSocket::uri(std::string_view domain) const {
    return "unix://" + path(domain);
}

Result<UniqueFd> MigrationSocket::listen(std::string_view domain, QemuUser peer) const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string where = path(domain);
    if (where.size() >= sizeof address.sun_path)
        return fail(ErrorKind::io, "the path {} is too long for a socket", where);
    where.copy(address.sun_path, where.size());
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(fd.get(), 1) != 0)
        return fail_errno(errno, "listen on " + where);
    // Not the directory: there the user could put another socket in the place of this one.
    if (::lchown(where.c_str(), peer.uid, peer.gid) != 0 || ::fchmod(lock_.get(), 0711) != 0)
        return fail_errno(errno, fmt::format("let user {} connect to {}", peer.uid, where));
    return fd;
}

Result<UniqueFd> MigrationSocket::connect_once(Deadline deadline) const {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory_, error))
        return unix_connect(entry.path(), deadline);
    return fail(ErrorKind::io, "nobody has made a socket in {}", directory_);
}

Result<MigrationSocket::Listener> MigrationSocket::connect(Deadline deadline) const {
    for (;;) {
        auto fd = connect_once(deadline);
        if (!fd) {
            // QEMU may not have come to listening yet.
            if (deadline.expired())
                return Unexpected(fd.error());
            std::this_thread::sleep_for(5ms);
            continue;
        }
        GC_TRY(const SocketPeer peer, peer_of(fd->get()));
        if (peer.uid != owner_.uid && peer.uid != 0)
            return fail(ErrorKind::io,
                        "expected the QEMU of user {} to listen in {}, found user {}", owner_.uid,
                        directory_, peer.uid);
        return Listener{std::move(*fd), peer.pid};
    }
}

}  // namespace gc::libvirt

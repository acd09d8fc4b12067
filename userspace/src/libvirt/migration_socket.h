// SPDX-License-Identifier: GPL-2.0-or-later
// The unix socket by which gcctl stands between libvirt's two QEMUs. It has the same path on both
// hosts: at the source gcctl listens and libvirtd connects, or its QEMU; at the destination QEMU
// listens and gcctl connects. It has a directory of its own, whose name is the migration's, or a
// user's choice if somebody else has to tell libvirt of it.
//
// Its name is one that a QEMU under libvirt's AppArmor profile may make: "*.tunnelmigrate.dest.VM"
// below /run/libvirt (get_files() in src/security/virt-aa-helper.c, 9.0).
#pragma once

#include "libvirt/connection.h"
#include "util/deadline.h"
#include "util/fd.h"

namespace gc::libvirt {

class MigrationSocket {
  public:
    /// Makes the socket's directory, which belongs to that user. What a process that is gone has
    /// left there is removed. @param name a file name, such as peer::public_id() of the migration.
    /// Errors: unsupported (also if another process uses it), io.
    static Result<MigrationSocket> make(const std::string& name, QemuUser owner);
    /// Whether it can be a name. Errors: usage.
    static Result<void> check_name(std::string_view name);
    MigrationSocket(MigrationSocket&& other) noexcept
        : directory_(std::exchange(other.directory_, {})), lock_(std::move(other.lock_)),
          owner_(other.owner_) {}
    MigrationSocket& operator=(MigrationSocket&&) = delete;
    MigrationSocket(const MigrationSocket&) = delete;
    MigrationSocket& operator=(const MigrationSocket&) = delete;
    /// Removes the directory and the socket.
    ~MigrationSocket();

    /// @param domain the VM's name. One of more than 46 characters leaves no room for
    /// AppArmor's name.
    [[nodiscard]] std::string path(std::string_view domain) const;
    [[nodiscard]] std::string uri(std::string_view domain) const;

    /// @param peer can connect, as root can. Errors: io.
    [[nodiscard]] Result<UniqueFd> listen(std::string_view domain, QemuUser peer) const;
    struct Listener {
        UniqueFd fd;
        pid_t pid;  ///< of the process that listens
    };
    /// Waits for somebody who listens in the directory. Errors: io, also if it is not the owner.
    [[nodiscard]] Result<Listener> connect(Deadline deadline) const;

  private:
    [[nodiscard]] Result<UniqueFd> connect_once(Deadline deadline) const;
    MigrationSocket(std::string directory, UniqueFd lock, QemuUser owner)
        : directory_(std::move(directory)), lock_(std::move(lock)), owner_(owner) {}

    std::string directory_;  ///< empty after a move
    UniqueFd lock_;          ///< the directory, locked
    QemuUser owner_;
};

/// The user and process at the other end of a unix socket. Errors: io.
struct SocketPeer {
    pid_t pid;
    uid_t uid;
};
Result<SocketPeer> peer_of(int socket);

}  // namespace gc::libvirt

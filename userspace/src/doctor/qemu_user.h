// SPDX-License-Identifier: GPL-2.0-or-later
// The user that a destination's QEMU runs as, and what that user may do.
#pragma once

#include "doctor/host.h"

#include <sys/types.h>

namespace gc::doctor {

struct QemuUser {
    std::string name;
    uid_t uid = 0;
    gid_t gid = 0;
};

/// @param name of the user; if empty, libvirt's if there is one, else this process's
/// Errors: usage if there is no such user
Result<QemuUser> find_qemu_user(const std::string& name);
/// The user of a process. Errors: io
Result<QemuUser> user_of_process(pid_t pid);

/// By what the user gets a userfaultfd that catches faults of the kernel, too.
struct UserfaultfdAccess {
    bool system_call = false;
    bool device = false;  ///< /dev/userfaultfd, which QEMU 8.0 and later open
};

/// Tries it, in a child process that becomes that user. Errors: io, if this process may not.
Result<UserfaultfdAccess> try_userfaultfd(const Host& host, const QemuUser& user);

}  // namespace gc::doctor

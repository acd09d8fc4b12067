// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "util/error.h"

#include <sys/types.h>

namespace gc {
inline namespace util {

struct ProcessOwner {
    uid_t uid;
    gid_t gid;
};
/// Whom /proc/PID belongs to: the process's effective user and group, or root if it cannot be
/// dumped (proc(5)). Errors: io.
Result<ProcessOwner> owner_of_process(pid_t pid);

}  // namespace util
}  // namespace gc

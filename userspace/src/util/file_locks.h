// SPDX-License-Identifier: GPL-2.0-or-later
// The locks that QEMUs take on images, as /proc shows them.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <string_view>
#include <sys/types.h>

namespace gc {
inline namespace util {

/// Locks of a file that keep another QEMU from writing to it: on the byte that stands for "I write"
/// or on that for "nobody else writes" (RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE in
/// block/file-posix.c, plus BLK_PERM_WRITE). Waiters do not count.
/// @param text /proc/locks, or /proc/PID/fdinfo/N
[[nodiscard]] std::uint64_t count_write_locks(std::string_view text, dev_t device, ino_t inode);

/// Those on this host. Locks of other hosts, on a network file system, are not seen. Errors: io.
Result<std::uint64_t> write_locks_on(dev_t device, ino_t inode);
/// Those that a process holds. Errors: io.
Result<std::uint64_t> write_locks_of(pid_t pid, dev_t device, ino_t inode);

}  // namespace util
}  // namespace gc

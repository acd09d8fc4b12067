// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/process_owner.h"

#include <cerrno>
#include <sys/stat.h>

namespace gc {
inline namespace util {

Result<ProcessOwner> owner_of_process(pid_t pid) {
    struct stat status {};
    const std::string directory = fmt::format("/proc/{}", pid);
    if (::stat(directory.c_str(), &status) != 0)
        return fail_errno(errno, "stat " + directory);
    return ProcessOwner{status.st_uid, status.st_gid};
}

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
// The control groups of a process: where they are, and how much memory they leave.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace gc {
inline namespace util {

/// One line of /proc/PID/cgroup.
struct CgroupPlace {
    std::string controllers;  ///< of cgroup v1, as in the line; empty for v2
    std::string path;
};
/// The lines of `wanted` that are not in `own`. Both are /proc/PID/cgroup.
std::vector<CgroupPlace> cgroups_besides(std::string_view own, std::string_view wanted);
/// The directory of a cgroup. @param mountinfo /proc/self/mountinfo
/// Errors: unsupported, if its hierarchy is not mounted, or the cgroup is not below the mount
Result<std::string> cgroup_directory(std::string_view mountinfo, const CgroupPlace& place);

/// What a cgroup lets its processes take in addition to what they have.
struct CgroupRoom {
    std::string directory;
    std::uint64_t bytes = 0;
};
/// The cgroup with the least room among those of a process and their parents; none if no limit can
/// be seen. Page cache of files counts as room, swap does not. Errors: io, protocol.
Result<std::optional<CgroupRoom>> memory_room(pid_t pid);
/// The same for one cgroup and its parents up to `top`. Exposed for its tests.
Result<std::optional<CgroupRoom>> memory_room(std::string directory, const std::string& top);

}  // namespace util
}  // namespace gc

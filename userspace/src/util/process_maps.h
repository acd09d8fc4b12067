// SPDX-License-Identifier: GPL-2.0-or-later
// What /proc tells about another process: its mappings, file descriptors and command line.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace gc {
inline namespace util {

/// A line of /proc/PID/maps (proc(5)).
struct MapsLine {
    std::uint64_t start = 0;
    std::uint64_t end = 0;  ///< exclusive
    bool shared = false;    ///< MAP_SHARED
    std::uint64_t offset = 0;
    dev_t device = 0;
    std::uint64_t inode = 0;  ///< 0 if no file is mapped
    std::string path;         ///< as printed, including " (deleted)"
};

/// Errors: protocol; the message quotes the line that proc(5) does not describe.
Result<std::vector<MapsLine>> parse_process_maps(std::string_view text);
Result<std::vector<MapsLine>> read_process_maps(pid_t pid);

/// The open file descriptors of a process, in ascending order.
Result<std::vector<int>> process_fds(pid_t pid);
/// Those of them whose link below /proc/PID/fd is `target`, such as "anon_inode:kvm-vm".
Result<std::vector<int>> process_fds(pid_t pid, std::string_view target);

/// The argv of a process. Errors: io, also if it is empty (a kernel thread or a zombie).
Result<std::vector<std::string>> process_command_line(pid_t pid);

}  // namespace util
}  // namespace gc

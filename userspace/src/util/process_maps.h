// SPDX-License-Identifier: GPL-2.0-or-later
// What /proc says about another process: its mappings, descriptors and command line.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace gc::inline util {

/// A line of /proc/PID/maps (proc(5)).
struct MapsLine {
    std::uint64_t start = 0;
    std::uint64_t end = 0;  ///< exclusive
    bool shared = false;    ///< MAP_SHARED
    std::uint64_t offset = 0;
    dev_t device = 0;
    std::uint64_t inode = 0;  ///< 0: no file
    std::string path;         ///< as printed, " (deleted)" included
};

/// Errors: protocol, with the line that is not as proc(5) says.
Result<std::vector<MapsLine>> parse_process_maps(std::string_view text);
Result<std::vector<MapsLine>> read_process_maps(pid_t pid);

/// The numbers of a process's open descriptors, ascending.
Result<std::vector<int>> process_fds(pid_t pid);

/// argv of a process. Errors: io also when it is empty (a kernel thread, a zombie).
Result<std::vector<std::string>> process_command_line(pid_t pid);

/// The whole of a small file, /proc and /sys ones included. Errors: io; more than 64 MiB
Result<std::string> read_file(const std::string& path);

}  // namespace gc::inline util

// SPDX-License-Identifier: GPL-2.0-or-later
// Reads and writes whole files.
#pragma once

#include "util/error.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <sys/types.h>

namespace gc {
inline namespace util {

/// Bounds what a wrong path such as /dev/zero can cost.
inline constexpr std::size_t default_max_file = std::size_t{64} << 20;

/// The content of a file, which may also be a pipe or in /proc or /sys. Errors: io, also if the
/// file has more than `max_bytes`.
Result<std::string> read_whole_file(const std::string& path,
                                    std::size_t max_bytes = default_max_file);

/// The mode of files that tell what a VM does: traces and reports. Only their owner can read them,
/// whatever the umask. An existing trace that is overwritten keeps its mode.
inline constexpr mode_t private_file_mode = 0600;

/// Replaces a file atomically: writes a temporary file beside it and renames that. The file
/// has that mode, whatever the umask, also if it replaces one with another mode. An existing file
/// must be a regular file. Errors: io.
Result<void> write_whole_file(const std::string& path, std::string_view text,
                              mode_t mode = private_file_mode);

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
// Reads and writes whole files.
#pragma once

#include "util/error.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace gc::inline util {

/// All of a file (a pipe as well). @param limit bytes
/// Errors: io, also for a file that is longer.
Result<std::string> read_whole_file(const std::string& path, std::size_t limit);

/// Replaces a file atomically: writes a temporary file beside it and renames that. An existing file
/// must be a regular file. Errors: io.
Result<void> write_whole_file(const std::string& path, std::string_view text);

}  // namespace gc::inline util

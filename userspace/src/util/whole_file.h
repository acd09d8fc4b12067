// SPDX-License-Identifier: GPL-2.0-or-later
// Files that are read and written in one go.
#pragma once

#include "util/error.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace gc::inline util {

/// All of a file (a pipe as well). @param limit bytes
/// Errors: io, also for a file that is longer.
Result<std::string> read_whole_file(const std::string& path, std::size_t limit);

/// Writes a file whole or not at all (a temporary name beside it, then rename); one that is there
/// is replaced if it is a regular one. Errors: io.
Result<void> write_whole_file(const std::string& path, std::string_view text);

}  // namespace gc::inline util

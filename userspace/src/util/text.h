// SPDX-License-Identifier: GPL-2.0-or-later
// Text from outside: cut into lines, and made fit for a terminal, a log, JSON or a shell.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gc {
inline namespace util {

/// The text with every byte that is not printable ASCII as \xNN, so that it can neither control a
/// terminal nor break JSON. Cut to `max_size` bytes of input, with "..." at the end.
[[nodiscard]] std::string printable(std::string_view text, std::size_t max_size = 400);

/// The words as a POSIX shell reads them.
[[nodiscard]] std::string shell_line(const std::vector<std::string>& words);

/// Its lines, without \n or \r\n.
[[nodiscard]] std::vector<std::string> lines_of(std::string_view text);

}  // namespace util
}  // namespace gc

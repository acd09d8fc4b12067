// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/print.h"

#include <string>

namespace gc {
inline namespace util {

void vprint_best_effort(std::FILE* to, fmt::string_view format, fmt::format_args args) {
    const std::string text = fmt::vformat(format, args);
    std::fwrite(text.data(), 1, text.size(), to);
    std::fflush(to);
}

}  // namespace util
}  // namespace gc

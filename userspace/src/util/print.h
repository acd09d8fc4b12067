// SPDX-License-Identifier: GPL-2.0-or-later
// Output for commands that must not fail because nobody reads it.
#pragma once

#include <cstdio>
#include <fmt/core.h>

namespace gc {
inline namespace util {

void vprint_best_effort(std::FILE* to, fmt::string_view format, fmt::format_args args);

/// Like fmt::print(), which throws if the stream is broken; then flushes. For output that does not
/// matter once its reader has gone.
template <typename... Args>
void print_best_effort(std::FILE* to, fmt::format_string<Args...> format, Args&&... args) {
    vprint_best_effort(to, format, fmt::make_format_args(args...));
}

}  // namespace util
}  // namespace gc

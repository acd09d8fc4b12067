// SPDX-License-Identifier: GPL-2.0-or-later
// Output of commands that must not end because nobody reads it.
#pragma once

#include <cstdio>
#include <fmt/core.h>

namespace gc::inline util {

void vprint_best_effort(std::FILE* to, fmt::string_view format, fmt::format_args args);

/// Like fmt::print(), which throws when the stream is broken; then flushes. A migration goes on
/// when the reader of its output has gone.
template <typename... Args>
void print_best_effort(std::FILE* to, fmt::format_string<Args...> format, Args&&... args) {
    vprint_best_effort(to, format, fmt::make_format_args(args...));
}

}  // namespace gc::inline util

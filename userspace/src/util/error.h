// SPDX-License-Identifier: GPL-2.0-or-later
// The project's error type. A message says what failed, what was expected, what was found, and what
// to do next.
#pragma once

#include <fmt/core.h>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace gc {
inline namespace util {

/// The kind of a failure. gcctl derives its exit status from it.
enum class ErrorKind {
    usage,           ///< invalid input from the user: command line, configuration file
    unsupported,     ///< the environment lacks something required, or uses something not supported
    protocol,        ///< a peer or a file violates its protocol or format
    io,              ///< a system call failed, a connection was lost, a wait timed out
    cancelled,       ///< the user cancelled the operation
    needs_operator,  ///< the VM may be stopped: the message says what to do
};

struct Error {
    ErrorKind kind = ErrorKind::io;
    std::string message;
    int error_number = 0;  ///< errno of a failed system call, or 0
};

template <typename T> using Result = tl::expected<T, Error>;
using Unexpected = tl::unexpected<Error>;

[[nodiscard]] Unexpected fail_with(ErrorKind kind, fmt::string_view format, fmt::format_args args);

/// An error whose message is formatted with fmt.
template <typename... Args>
[[nodiscard]] Unexpected fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
    return fail_with(kind, format, fmt::make_format_args(args...));
}

/// An io error with the text of errno appended: "open /dev/kvm: Permission denied".
/// @param saved_errno errno, read by the caller before anything else could change it
[[nodiscard]] Unexpected fail_errno(int saved_errno, std::string what);

/// The same error, its message prefixed with "context: ".
[[nodiscard]] Unexpected wrap(Error error, std::string_view context);

}  // namespace util
}  // namespace gc

/// Assigns the value of a Result, or returns its error from the enclosing function.
#define GC_CONCAT_(a, b) a##b
#define GC_CONCAT(a, b) GC_CONCAT_(a, b)
// NOLINTBEGIN(bugprone-macro-parentheses): `decl` may declare, `tmp` is a name
#define GC_TRY_IMPL_(tmp, decl, expr)                                                              \
    auto tmp = (expr);                                                                             \
    if (!tmp)                                                                                      \
        return ::gc::Unexpected(std::move(tmp).error());                                           \
    decl = std::move(*tmp)
// NOLINTEND(bugprone-macro-parentheses)
#define GC_TRY(decl, expr) GC_TRY_IMPL_(GC_CONCAT(gc_result_, __LINE__), decl, expr)
/// The same for a Result<void>, or when the value is not needed.
#define GC_CHECK(expr)                                                                             \
    do {                                                                                           \
        if (auto gc_result_ = (expr); !gc_result_)                                                 \
            return ::gc::Unexpected(std::move(gc_result_).error());                                \
    } while (0)

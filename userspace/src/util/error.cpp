// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/error.h"

#include <system_error>

namespace gc {
inline namespace util {

Unexpected fail_with(ErrorKind kind, fmt::string_view format, fmt::format_args args) {
    return Unexpected(Error{kind, fmt::vformat(format, args)});
}

Unexpected fail_errno(int saved_errno, std::string what) {
    what += ": " + std::generic_category().message(saved_errno);
    return Unexpected(Error{ErrorKind::io, std::move(what), saved_errno});
}

Unexpected wrap(Error error, std::string_view context) {
    error.message = fmt::format("{}: {}", context, error.message);
    return Unexpected(std::move(error));
}

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/error.h"

#include <system_error>

namespace gc {

Unexpected fail_errno(int saved_errno, std::string what) {
    return fail(ErrorKind::io, "{}: {}", what, std::generic_category().message(saved_errno));
}

Unexpected wrap(Error error, std::string_view context) {
    error.message = fmt::format("{}: {}", context, error.message);
    return Unexpected(std::move(error));
}

}  // namespace gc

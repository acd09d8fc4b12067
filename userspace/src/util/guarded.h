// SPDX-License-Identifier: GPL-2.0-or-later
// The boundary of a thread or of the program, which no exception may cross.
#pragma once

#include "util/error.h"

#include <exception>

namespace gc {
inline namespace util {

/// Calls a function that returns a Result<void>; an exception becomes its error.
template <typename Function> Result<void> guarded(Function&& function) {
    try {
        return function();
    } catch (const std::exception& error) {
        return fail(ErrorKind::io, "unexpected exception: {}; this is a bug of gcctl",
                    error.what());
    }
}

}  // namespace util
}  // namespace gc

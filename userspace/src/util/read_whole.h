// SPDX-License-Identifier: GPL-2.0-or-later
// Fills a buffer from whatever can be read in pieces.
#pragma once

#include "util/error.h"

#include <cstddef>
#include <span>

namespace gc {
inline namespace util {

/// @param read a function Result<std::size_t> read(std::span<std::byte>); 0 means the end
/// @return false if the input ends before the first byte
/// Errors: those of `read`; io, if the input ends in the middle of the span.
template <typename Read> Result<bool> read_whole_with(Read read, std::span<std::byte> into) {
    for (std::size_t have = 0; have < into.size();) {
        GC_TRY(const std::size_t got, read(into.subspan(have)));
        if (got == 0 && have == 0)
            return false;
        if (got == 0)
            return fail(ErrorKind::io, "expected {} bytes, but the input ended after {}",
                        into.size(), have);
        have += got;
    }
    return true;
}

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
// `gcctl migrate --compress`.
#pragma once

#include <cstdint>

namespace gc::transfer {

enum class Compress : std::uint8_t {
    automatic,  ///< what saves time, as measured
    off,
    lz4,
    zstd,
};

}  // namespace gc::transfer

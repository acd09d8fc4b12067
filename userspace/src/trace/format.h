// SPDX-License-Identifier: GPL-2.0-or-later
// Definitions shared by the trace's writer and reader. docs/reference/trace-format.md describes the
// format.
#pragma once

#include "trace/trace.h"

namespace gc::trace {

enum class Tag : std::uint8_t { epoch = 'E', end = 'Z' };

/// The layout of a run's attributes: the kind in the low bits, the order above it.
inline constexpr unsigned kind_bits = 3;

/// Limits of the format; they bound the reader's allocations.
inline constexpr std::uint64_t max_blocks = 64;
inline constexpr std::uint64_t max_name = 255;
inline constexpr std::uint64_t max_pages = std::uint64_t{1} << 32;
inline constexpr std::uint64_t max_us = std::uint64_t{1} << 53;
inline constexpr unsigned max_order = 18;  ///< 1 GiB

/// The previous run in the epoch, to which a run's values are relative.
struct Last {
    std::uint64_t next_page = 0;  ///< the page after its last
    std::uint64_t time_us = 0;
    std::uint32_t vcpu = UINT32_MAX;
    AccessKind kind = AccessKind::any;
    std::uint8_t order = 0;
};

/// Maps small signed numbers to small unsigned ones: 0, -1, 1, -2 to 0, 1, 2, 3.
constexpr std::uint64_t zigzag(std::uint64_t difference) {
    return difference << 1 ^ (difference >> 63 != 0 ? UINT64_MAX : 0);
}
constexpr std::uint64_t unzigzag(std::uint64_t value) {
    return value >> 1 ^ ((value & 1) != 0 ? UINT64_MAX : 0);
}

}  // namespace gc::trace

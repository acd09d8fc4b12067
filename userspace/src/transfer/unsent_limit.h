// SPDX-License-Identifier: GPL-2.0-or-later
// How much may wait unsent in a socket: the next page sent there waits for all of it, and a page
// in it cannot be sent once more, on a faster channel, when the VM comes to need it.
#pragma once

#include "util/page.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace gc::transfer {

/// What a page may wait for in the socket; longer than the thread that writes waits for a busy CPU,
/// or that would be taken for the rate of the path.
inline constexpr std::chrono::milliseconds unsent_time{20};
/// Bytes: for the least, the thread that writes is woken for each page or two; the most is enough
/// for any path while it wakes up.
inline constexpr std::uint64_t least_unsent = 2 * page_size;
inline constexpr std::uint64_t most_unsent = 128UL * 1024;

/// @param rate of the connection in bytes per second; 0 if that is not known
/// @return bytes, a multiple of a page's
constexpr std::uint64_t unsent_limit(std::uint64_t rate) {
    if (rate == 0)
        return most_unsent;
    const std::uint64_t bytes =
        std::min(rate, most_unsent * 1000) * static_cast<std::uint64_t>(unsent_time.count()) / 1000;
    return std::clamp(bytes - bytes % page_size, least_unsent, most_unsent);
}

}  // namespace gc::transfer

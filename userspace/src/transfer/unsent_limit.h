// SPDX-License-Identifier: GPL-2.0-or-later
// How much may be queued unsent in a socket. The next page waits for all of it, and a queued page
// cannot be sent again on a faster channel when the VM comes to need it.
#pragma once

#include "util/page.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace gc::transfer {

/// How long a page may wait in the socket. It must exceed the time that the writing thread waits
/// for a busy CPU; otherwise that wait would be mistaken for the rate of the path.
inline constexpr std::chrono::milliseconds unsent_time{20};
/// Bytes. At the minimum, the writing thread is woken for every page or two; the maximum keeps any
/// path busy while the thread wakes up.
inline constexpr std::uint64_t min_unsent = 2 * page_size;
inline constexpr std::uint64_t max_unsent = 128UL * 1024;

/// @param rate of the connection in bytes per second; 0 if unknown
/// @return bytes, a multiple of the page size
constexpr std::uint64_t unsent_limit(std::uint64_t rate) {
    if (rate == 0)
        return max_unsent;
    const std::uint64_t bytes =
        std::min(rate, max_unsent * 1000) * static_cast<std::uint64_t>(unsent_time.count()) / 1000;
    return std::clamp(bytes - bytes % page_size, min_unsent, max_unsent);
}

}  // namespace gc::transfer

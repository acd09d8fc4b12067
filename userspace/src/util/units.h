// SPDX-License-Identifier: GPL-2.0-or-later
// Sizes, rates and durations as users of QEMU, tc(8) and systemd write them.
#pragma once

#include "util/error.h"

#include <chrono>
#include <cstdint>
#include <string_view>

namespace gc::inline util {

/// Bytes per second. "800mbit", "10gbit", "100kbit" are bits per second, powers of 1000, as in
/// tc(8); "64K", "100M", "1G" and a bare number are bytes per second, powers of 1024, as QEMU's own
/// max-bandwidth takes them. Errors: usage.
Result<std::uint64_t> parse_rate(std::string_view text);

/// Bytes: "512K", "100M", "4G", "1T", powers of 1024; a bare number is bytes. Errors: usage.
Result<std::uint64_t> parse_size(std::string_view text);

/// "250ms", "10s", "2min"; a bare number is seconds. Errors: usage.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

/// The same, and "500us". Errors: usage.
Result<std::chrono::nanoseconds> parse_short_duration(std::string_view text);

/// "95%", "0.5%": 0 to 1. Errors: usage.
Result<double> parse_percent(std::string_view text);

}  // namespace gc::inline util

// SPDX-License-Identifier: GPL-2.0-or-later
// Parses sizes, rates and durations in the forms of QEMU, tc(8) and systemd.
#pragma once

#include "util/error.h"

#include <chrono>
#include <cstdint>
#include <string_view>

namespace gc {
inline namespace util {

/// Bytes per second. "800mbit", "10gbit" and "100kbit" are bits per second in powers of 1000, as in
/// tc(8). "64K", "100M", "1G" and plain numbers are bytes per second in powers of 1024, as in
/// QEMU's max-bandwidth. Errors: usage.
Result<std::uint64_t> parse_rate(std::string_view text);

/// Bytes: "512K", "100M", "4G", "1T" in powers of 1024; a plain number is bytes. Errors: usage.
Result<std::uint64_t> parse_size(std::string_view text);

/// "250ms", "10s", "2min"; a plain number is seconds. Errors: usage.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

/// Like parse_duration(), and also takes "500us". Errors: usage.
Result<std::chrono::nanoseconds> parse_short_duration(std::string_view text);

/// "95%", "0.5%"; returns 0.95, 0.005. Errors: usage.
Result<double> parse_percent(std::string_view text);

}  // namespace util
}  // namespace gc

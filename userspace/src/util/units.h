// SPDX-License-Identifier: GPL-2.0-or-later
// Parses numbers, and sizes, rates and durations in the forms of QEMU, tc(8) and systemd.
#pragma once

#include "util/error.h"

#include <chrono>
#include <cstdint>
#include <string_view>

namespace gc {
inline namespace util {

/// A whole number in decimal digits, without sign, unit or blanks. Errors: usage.
Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t min, std::uint64_t max);

/// A number such as "2" or "0.25", without sign, exponent or unit. Errors: usage.
Result<double> parse_factor(std::string_view text, double min, double max);

/// Bytes per second. "800mbit", "10gbit" and "100kbit" are bits per second in powers of 1000, as in
/// tc(8). "64K", "100M", "1G" and plain numbers are bytes per second in powers of 1024, as in
/// QEMU's max-bandwidth. Errors: usage.
Result<std::uint64_t> parse_rate(std::string_view text);

/// Bytes: "512K", "100M", "4G", "1T" in powers of 1024; a plain number is bytes. Errors: usage.
Result<std::uint64_t> parse_size(std::string_view text);

/// "250ms", "10s", "2min", at most 35791min, which is what poll(2) takes; a plain number is
/// seconds. Errors: usage.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);

/// Like parse_duration(), and also takes "500us". Errors: usage.
Result<std::chrono::nanoseconds> parse_short_duration(std::string_view text);

/// "95%", "0.5%"; returns 0.95, 0.005. Errors: usage.
Result<double> parse_percent(std::string_view text);

}  // namespace util
}  // namespace gc

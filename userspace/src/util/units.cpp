// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace gc {
inline namespace util {
namespace {

struct Unit {
    std::string_view suffix;
    double factor;
};

constexpr double kibi = 1024;
constexpr std::array<Unit, 5> size_units{{{"", 1},
                                          {"K", kibi},
                                          {"M", kibi* kibi},
                                          {"G", kibi* kibi* kibi},
                                          {"T", kibi* kibi* kibi* kibi}}};
constexpr std::array<Unit, 5> bit_units{{{"bit", 1.0 / 8},
                                         {"kbit", 1e3 / 8},
                                         {"mbit", 1e6 / 8},
                                         {"gbit", 1e9 / 8},
                                         {"tbit", 1e12 / 8}}};
constexpr std::array<Unit, 4> time_units{{{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"min", 60e3}}};

constexpr std::array<Unit, 5> short_time_units{
    {{"", 1e9}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}}};
constexpr std::array<Unit, 1> percent{{{"%", 0.01}}};

constexpr double max_duration_ms = 35'791 * 60e3;

/// std::from_chars() would also take a sign, "inf" and "nan".
bool begins_with_digit(std::string_view text) {
    return !text.empty() && text.front() >= '0' && text.front() <= '9';
}

/// Parses a number with a unit, rounded down. @return false if the text is malformed or the value
/// reaches `limit`
template <std::size_t N>
bool parse(std::string_view text, const std::array<Unit, N>& units, double limit, double& value) {
    double number = 0;
    const auto [rest, error] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc{} || !begins_with_digit(text))
        return false;
    const std::string_view suffix(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
    for (const Unit& unit : units) {
        if (unit.suffix == suffix) {
            value = number * unit.factor;
            return value < limit;
        }
    }
    return false;
}

}  // namespace

Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t min, std::uint64_t max) {
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || rest != end || value < min || value > max)
        return fail(ErrorKind::usage, "invalid number '{}' (expected {} to {})", text, min, max);
    return value;
}

Result<double> parse_factor(std::string_view text, double min, double max) {
    double value = 0;
    // The smallest value above the maximum is the limit.
    if (!parse(text, std::array<Unit, 1>{{{"", 1}}},
               std::nextafter(max, std::numeric_limits<double>::infinity()), value) ||
        value < min)
        return fail(ErrorKind::usage, "invalid number '{}' (expected {} to {})", text, min, max);
    return value;
}

Result<std::uint64_t> parse_rate(std::string_view text) {
    double value = 0;
    if ((!parse(text, size_units, 1e18, value) && !parse(text, bit_units, 1e18, value)) ||
        value < 1)
        return fail(ErrorKind::usage,
                    "invalid rate '{}' (expected e.g. 100M in bytes per second, or 800mbit)", text);
    return static_cast<std::uint64_t>(value);
}

Result<std::uint64_t> parse_size(std::string_view text) {
    double value = 0;
    if (!parse(text, size_units, 1e18, value))
        return fail(ErrorKind::usage, "invalid size '{}' (expected e.g. 512M, 4G)", text);
    return static_cast<std::uint64_t>(value);
}

Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
    double value = 0;
    if (!parse(text, time_units, std::numeric_limits<double>::infinity(), value))
        return fail(ErrorKind::usage, "invalid duration '{}' (expected e.g. 10s, 250ms)", text);
    if (value > max_duration_ms)
        return fail(ErrorKind::usage, "invalid duration '{}' (expected at most 35791min)", text);
    return std::chrono::milliseconds(static_cast<std::int64_t>(value));
}

Result<std::chrono::nanoseconds> parse_short_duration(std::string_view text) {
    double value = 0;
    if (!parse(text, short_time_units, 1e18, value))
        return fail(ErrorKind::usage, "invalid duration '{}' (expected e.g. 10ms, 500us)", text);
    return std::chrono::nanoseconds(static_cast<std::int64_t>(value));
}

Result<double> parse_percent(std::string_view text) {
    double value = 0;
    if (!parse(text, percent, 1e6, value))
        return fail(ErrorKind::usage, "invalid percentage '{}' (expected e.g. 25%)", text);
    return value;
}

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes as lower-case hexadecimal digits.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace gc {
inline namespace util {

[[nodiscard]] inline std::string hex(std::span<const std::byte> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const std::byte byte : bytes) {
        text += digits[std::to_integer<std::size_t>(byte >> 4)];
        text += digits[std::to_integer<std::size_t>(byte & std::byte{15})];
    }
    return text;
}

/// @return nullopt if the text is not exactly twice as many lower-case hexadecimal digits
template <std::size_t size>
[[nodiscard]] std::optional<std::array<std::byte, size>> from_hex(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::array<std::byte, size> bytes;
    if (text.size() != 2 * size)
        return std::nullopt;
    for (std::size_t i = 0; i < size; ++i) {
        const std::size_t high = digits.find(text[2 * i]);
        const std::size_t low = digits.find(text[2 * i + 1]);
        if (high == std::string_view::npos || low == std::string_view::npos)
            return std::nullopt;
        bytes[i] = static_cast<std::byte>(high << 4 | low);
    }
    return bytes;
}

}  // namespace util
}  // namespace gc

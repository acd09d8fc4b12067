// SPDX-License-Identifier: GPL-2.0-or-later
// Reads big-endian fields from the front of a buffer. All bounds checks of the parsers are here.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace gc::stream {

/// Once a field does not fit, short_of_data() holds and all further fields read as zero or empty. A
/// parser can thus read several fields and check once.
class Cursor {
  public:
    explicit Cursor(std::span<const std::byte> bytes) : rest_(bytes) {}

    [[nodiscard]] bool short_of_data() const { return short_; }
    [[nodiscard]] std::span<const std::byte> rest() const { return rest_; }

    std::span<const std::byte> bytes(std::size_t count) {
        if (short_ || count > rest_.size()) {
            short_ = true;
            return {};
        }
        const auto taken = rest_.first(count);
        rest_ = rest_.subspan(count);
        return taken;
    }

    template <std::unsigned_integral T> T be() {
        T value = 0;
        for (const std::byte byte : bytes(sizeof(T)))
            value = static_cast<T>((sizeof(T) > 1 ? value << 8 : 0) |
                                   std::to_integer<std::uint8_t>(byte));
        return value;
    }

    /// A string preceded by its length in one byte.
    std::string_view short_string() { return text(be<std::uint8_t>()); }

    std::string_view text(std::size_t length) {
        const auto taken = bytes(length);
        return {reinterpret_cast<const char*>(taken.data()), taken.size()};
    }

  private:
    std::span<const std::byte> rest_;
    bool short_ = false;
};

}  // namespace gc::stream

// SPDX-License-Identifier: GPL-2.0-or-later
// Why a page is sent: the classes of pages, in one table. The JSON of reports, the tables on the
// terminal and the HTML report list the classes in this order, under these names.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gc::ledger {

enum class PageClass : std::uint8_t {
    precopy,     ///< sent while the VM still ran at the source
    urgent,      ///< requested by the destination
    guide,       ///< touched by the guide
    warm,        ///< next to a requested page, or in the hot set
    background,  ///< all others
};

inline constexpr std::array<std::string_view, 5> page_class_names{"precopy", "urgent", "guide",
                                                                  "warm", "background"};
inline constexpr std::size_t page_class_count = page_class_names.size();
static_assert(static_cast<std::size_t>(PageClass::background) + 1 == page_class_count);

/// Every class, in order.
inline constexpr auto page_classes = [] {
    std::array<PageClass, page_class_count> classes{};
    for (std::size_t i = 0; i < classes.size(); ++i)
        classes[i] = static_cast<PageClass>(i);
    return classes;
}();

[[nodiscard]] constexpr std::string_view name(PageClass page_class) {
    return page_class_names[static_cast<std::size_t>(page_class)];
}

/// One T for each class, in their order.
template <typename T> struct PerClass {
    std::array<T, page_class_count> values{};

    [[nodiscard]] constexpr T& operator[](PageClass page_class) {
        return values[static_cast<std::size_t>(page_class)];
    }
    [[nodiscard]] constexpr const T& operator[](PageClass page_class) const {
        return values[static_cast<std::size_t>(page_class)];
    }
    constexpr auto begin() { return values.begin(); }
    constexpr auto end() { return values.end(); }
    [[nodiscard]] constexpr auto begin() const { return values.begin(); }
    [[nodiscard]] constexpr auto end() const { return values.end(); }
    bool operator==(const PerClass&) const = default;
};

}  // namespace gc::ledger

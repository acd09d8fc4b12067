// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>

namespace gc {
inline namespace util {

/// Size of a guest page in bytes, whatever the host's page size. Memory is tracked and sent in
/// these units.
inline constexpr std::size_t page_size = 4096;

}  // namespace util
}  // namespace gc

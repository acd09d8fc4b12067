// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>

namespace gc::inline util {

/// Of a page of the guest; whatever the host has, memory is told and sent in these.
inline constexpr std::size_t page_size = 4096;

}  // namespace gc::inline util

// SPDX-License-Identifier: GPL-2.0-or-later
// How long a QEMU may take for what needs no network.
#pragma once

#include <chrono>

namespace gc::recover {

/// To answer on its monitor, and to accept a connection.
inline constexpr std::chrono::seconds qmp_timeout{5};
/// To notice that its connection is closed, which it does at once.
inline constexpr std::chrono::seconds pause_timeout{5};

}  // namespace gc::recover

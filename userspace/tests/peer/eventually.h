// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "util/deadline.h"

#include <chrono>
#include <thread>

namespace gc::peer {

inline constexpr std::chrono::seconds soon{10};

/// Waits for something that another thread does.
template <typename Condition> bool eventually(Condition condition) {
    const Deadline deadline = soon;
    while (!condition()) {
        if (deadline.expired())
            return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

namespace gc::qmp {

/// A QMP event, such as STOP.
struct Event {
    std::string name;                               ///< e.g. "STOP"
    nlohmann::json data;                            ///< an object, empty if the event has none
    std::chrono::system_clock::time_point emitted;  ///< QEMU's timestamp (wall clock, us)
    std::chrono::steady_clock::time_point arrived;  ///< when this client read it
};

}  // namespace gc::qmp

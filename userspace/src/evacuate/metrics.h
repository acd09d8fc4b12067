// SPDX-License-Identifier: GPL-2.0-or-later
// The metrics of an evacuation. Those of its migrations are written by `gcctl migrate`.
#pragma once

#include "evacuate/outcome.h"
#include "metrics/exposition.h"

#include <chrono>

namespace gc::evacuate {

/// @param moving how many of the VMs whose fate is `waiting` are on their way
/// @param end if it has ended, which is counted; else the epoch
void show(metrics::Exposition& exposition, const Outcome& outcome, std::size_t moving,
          std::chrono::system_clock::time_point begin, std::chrono::system_clock::time_point end);

}  // namespace gc::evacuate

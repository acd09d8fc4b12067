// SPDX-License-Identifier: GPL-2.0-or-later
// What the user asked `gcctl simulate` for.
#pragma once

#include "simulate/workload.h"
#include "util/error.h"

#include <optional>
#include <span>
#include <string>

namespace gc::simulate {

struct Options {
    std::string trace;       ///< file
    std::uint64_t link = 0;  ///< bytes per second, tenants' part and all
    std::string policy;
    Scenario scenario;
    Replay replay;
    std::string report;  ///< file, or empty
    bool json = false;
};

/// Nothing after --help. Errors: usage; those of shape::Policy::find().
Result<std::optional<Options>> parse(std::span<const std::string> arguments);

}  // namespace gc::simulate

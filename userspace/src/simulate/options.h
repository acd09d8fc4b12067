// SPDX-License-Identifier: GPL-2.0-or-later
// The options of `gcctl simulate`.
#pragma once

#include "simulate/workload.h"
#include "util/error.h"

#include <optional>
#include <span>
#include <string>

namespace gc::simulate {

struct Options {
    std::string trace;       ///< file
    std::uint64_t link = 0;  ///< bytes per second, including the tenants' share
    std::string policy;
    Scenario scenario;
    Replay replay;
    std::string report;  ///< file, or empty
    bool json = false;
};

/// @return nullopt after --help. Errors: usage; those of policy::Policy::find().
Result<std::optional<Options>> parse(std::span<const std::string> arguments);

}  // namespace gc::simulate

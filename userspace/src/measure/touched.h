// SPDX-License-Identifier: GPL-2.0-or-later
// Which pages the VM touched at the destination, as `gcctl receive --measure` tells `gcctl
// migrate`.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

namespace gc::measure {

/// Pages of 4 KiB, in a row.
struct Run {
    std::uint64_t first = 0;  ///< page of the RAM block
    std::uint64_t count = 0;
    bool operator==(const Run&) const = default;
};

/// Pages of one RAM block. No page is in two of these.
struct Touched {
    std::string block;
    bool asked = false;  ///< the destination requested them
    std::vector<Run> runs;
    bool operator==(const Touched&) const = default;
};

/// The fields of the control messages "touched" that tell all of it, each short enough for a line:
///     {"block": "pc.ram", "asked": false, "runs": [first, count, first, count, ...]}
std::vector<nlohmann::json> to_messages(const Touched& touched);

/// Errors: protocol, when the message is none of these.
Result<Touched> from_message(const nlohmann::json& message);

}  // namespace gc::measure

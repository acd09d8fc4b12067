// SPDX-License-Identifier: GPL-2.0-or-later
// The pages that the VM touched at the destination, as `gcctl receive --measure` reports them to
// `gcctl migrate`.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

namespace gc::measure {

/// Consecutive pages of 4 KiB.
struct Run {
    std::uint64_t first = 0;  ///< page of the RAM block
    std::uint64_t count = 0;
    bool operator==(const Run&) const = default;
};

/// Touched pages of one RAM block, disjoint from all others.
struct Touched {
    std::string block;
    bool asked = false;  ///< the destination requested them
    std::vector<Run> runs;
    bool operator==(const Touched&) const = default;
};

/// The fields of the "touched" control messages that carry them, each short enough for a line:
///     {"block": "pc.ram", "asked": false, "runs": [first, count, first, count, ...]}
std::vector<nlohmann::json> to_messages(const Touched& touched);

/// Errors: protocol, if the message has another form.
Result<Touched> from_message(const nlohmann::json& message);

}  // namespace gc::measure

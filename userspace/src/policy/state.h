// SPDX-License-Identifier: GPL-2.0-or-later
// The state that an attachment saves for showing, changing and removing it, in a pinned map.
#pragma once

#include "policy/pins.h"
#include "policy/policy.h"
#include "policy/queue.h"

namespace gc::policy {

struct State {
    static constexpr const char* pin = "state";

    bool complete = false;  ///< attaching has completed
    int ifindex = 0;
    std::string device;
    std::string hook;         ///< "tcx" or "clsact"; empty if not attached yet
    std::string object;       ///< a file; empty for gcctl's own program
    bool lasting = true;      ///< stays when its last user ends
    bool own_clsact = false;  ///< the device had no clsact before
    std::uint64_t link_bytes_per_s = 0;
    std::optional<std::uint64_t>
        link_override;  ///< bytes per second, given when attaching; overrides the policy
    Policy policy;
    QueuePlan queue;
};

std::string to_text(const State& state);
/// Errors: protocol, if a different version of gcctl wrote it.
Result<State> parse_state(const std::string& text);

/// Replaces the saved state atomically: a reader finds either the old or the new one.
Result<void> save(Pins& pins, const State& state);
/// @return nullopt if no state was saved. Errors: protocol.
Result<std::optional<State>> load_state(const Pins& pins);

}  // namespace gc::policy

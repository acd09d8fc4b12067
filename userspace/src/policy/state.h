// SPDX-License-Identifier: GPL-2.0-or-later
// What an attachment remembers for who shows, changes or removes it, in a pinned map of its own.
#pragma once

#include "policy/pins.h"
#include "policy/policy.h"
#include "policy/queue.h"

namespace gc::policy {

struct State {
    static constexpr const char* pin = "state";

    bool complete = false;  ///< attach came to its end
    int ifindex = 0;
    std::string device;
    std::string hook;                        ///< "tcx" or "clsact"; empty: not attached yet
    std::string object;                      ///< a file; empty: gcctl's own program
    bool lasting = true;                     ///< stays when its last user ends
    bool own_clsact = false;                 ///< there was no clsact before
    std::uint64_t link = 0;                  ///< bytes per second
    std::optional<std::uint64_t> said_link;  ///< by who attached it, over what the policy says
    Policy policy;
    QueuePlan queue;
};

std::string to_text(const State& state);
/// Errors: protocol, if another version of gcctl wrote it.
Result<State> parse_state(const std::string& text);

/// Replaces what is there in one step, so that a reader finds the old or the new.
Result<void> save(Pins& pins, const State& state);
/// @return none: there is none. Errors: protocol.
Result<std::optional<State>> load_state(const Pins& pins);

}  // namespace gc::policy

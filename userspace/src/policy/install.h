// SPDX-License-Identifier: GPL-2.0-or-later
// The steps that put a program on a NIC and remove it. The caller must hold the exclusive lock of
// the directory, unless the user forced the operation.
#pragma once

#include "net/links.h"
#include "policy/object.h"
#include "policy/state.h"

namespace gc::policy {

/// Each step is saved in the state before it is taken, so that uninstall() can undo it from any
/// point. Errors: unsupported, io; parts may be in place then.
Result<void> install(net::Netlink& netlink, Pins& pins, State& state, Object& object);

/// Removes all parts that are present. Can be repeated. @param state nullopt if none was saved
Result<void> uninstall(Pins& pins, const std::optional<State>& state);

/// Whether the program is still attached to the NIC.
bool in_place(const Pins& pins, const State& state);

/// The parts that were removed from the NIC, or replaced: "the tc program", "fq", or both. Empty if
/// none.
Result<std::string> find_missing(const Pins& pins, const State& state);

/// Other filters that may hide packets from the program ("bpf of priority 1"), or empty.
Result<std::string> find_before(const Pins& pins, const State& state);

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
// The steps that put a program on a NIC and take it away. Whoever calls them holds the directory's
// exclusive lock (or was told to do without).
#pragma once

#include "net/links.h"
#include "policy/object.h"
#include "policy/state.h"

namespace gc::policy {

/// What is to be done is in the saved state before it is done, so that uninstall() finds its way
/// from any moment on. Errors: unsupported, io; something may be in place then.
Result<void> install(net::Netlink& netlink, Pins& pins, State& state, Object& object);

/// Takes away whatever of it is there. Safe to repeat. @param state none: it never got that far
Result<void> uninstall(Pins& pins, const std::optional<State>& state);

/// Whether the program is still at the NIC.
bool in_place(const Pins& pins, const State& state);

/// What somebody took off the NIC, or replaced, since it was put there: "the tc program", "fq", or
/// both; empty: nothing.
Result<std::string> find_missing(const Pins& pins, const State& state);

/// Others' filters that may keep packets from the program: "bpf of priority 1"; empty: none.
Result<std::string> find_before(const Pins& pins, const State& state);

}  // namespace gc::policy

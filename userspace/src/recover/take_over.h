// SPDX-License-Identifier: GPL-2.0-or-later
// The record of a migration whose gcctl has died becomes that of this process.
#pragma once

#include "recover/options.h"
#include "state/store.h"

#include <optional>
#include <string>

namespace gc::recover {

struct TakenOver {
    std::optional<state::Record> record;    ///< as it was found, if there is one
    std::optional<state::Journal> journal;  ///< if it can be kept

    /// The migration's; empty if this host has no record of it.
    [[nodiscard]] std::string id() const { return record ? record->id : std::string(); }
};

/// Warns if there is no record. Errors: unsupported, if another gcctl is at work, or the VM was not
/// handed over.
/// @param not_handed_over the error's message then: what to do instead
Result<TakenOver> take_over(state::Role role, const state::Process& qemu, const Options& options,
                            std::string_view not_handed_over);

}  // namespace gc::recover

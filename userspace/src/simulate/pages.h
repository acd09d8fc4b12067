// SPDX-License-Identifier: GPL-2.0-or-later
// Where the pages of a simulated VM are that it will touch. The others matter only by their number.
#pragma once

#include "ledger/ledger.h"
#include "simulate/scenario.h"

#include <vector>

namespace gc::simulate {

inline constexpr std::uint32_t nobody = UINT32_MAX;

struct Page {
    enum class Where : std::uint8_t { source, on_its_way, here };
    Where where = Where::source;
    ledger::PageClass as = ledger::PageClass::background;  ///< once it is not at the source
    bool requested = false;
    std::uint32_t frame = 0;      ///< that it is in, by its number
    std::uint32_t vcpu = nobody;  ///< that waits for it
    Time touched{};               ///< by that
    Time requested_at{};          ///< if it was: at the destination's host
};

/// One for each of Workload::pages.
using Pages = std::vector<Page>;

/// Pages that are written together, in one direction: to the destination.
struct Frame {
    ledger::PageClass as = ledger::PageClass::background;
    std::uint32_t vm = 0;
    std::uint32_t number = 0;  ///< rises with each of a VM
    /// Those of the pages that are in it and that Pages has. Urgent and background: a range of
    /// theirs, of which it has those that have its number. Guide: a range of Source::guided().
    std::uint32_t first = 0, last = 0;
    std::uint64_t pages = 0;
    std::uint64_t bytes = 0;
};

}  // namespace gc::simulate

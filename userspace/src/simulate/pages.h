// SPDX-License-Identifier: GPL-2.0-or-later
// The state of the pages that a simulated VM will touch. Of the other pages only the number
// matters.
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
    std::uint32_t frame = 0;      ///< number of the frame that holds it
    std::uint32_t vcpu = nobody;  ///< the vCPU that is waiting for it
    Time touched{};               ///< when that vCPU touched it
    Time requested_at{};          ///< if `requested`; at the destination's host
};

/// One for each element of Workload::pages.
using Pages = std::vector<Page>;

/// Pages that are written together, to the destination.
struct Frame {
    ledger::PageClass as = ledger::PageClass::background;
    std::uint32_t vm = 0;
    std::uint32_t number = 0;  ///< rises with each frame of a VM
    /// The touched pages among `pages`. Urgent and background: a range of Pages, of which the frame
    /// holds those with its number. Guide: a range of Source::guided().
    std::uint32_t first = 0, last = 0;
    std::uint64_t pages = 0;
    std::uint64_t bytes = 0;
};

}  // namespace gc::simulate

// SPDX-License-Identifier: GPL-2.0-or-later
// How good the guide's guesses were: what was pushed, against what the VM then touched.
#pragma once

#include "ledger/ledger.h"
#include "measure/touched.h"
#include "report/report.h"

namespace gc::measure {

/// Counts pages of guest RAM, each once.
class Coverage {
  public:
    /// @param ledger outlives this object; it has kept the deliveries, and no thread changes it now
    explicit Coverage(const ledger::Ledger& ledger) : ledger_(ledger) {}

    /// Errors: protocol, when there are no such pages, or they were never delivered.
    Result<void> add(const Touched& touched);

    /// The shares and counts of all that was added; the destination's own figures are left alone.
    [[nodiscard]] report::MeasureReport result() const;

  private:
    [[nodiscard]] Result<void> add(std::size_t block, const Run& run, bool asked);

    const ledger::Ledger& ledger_;
    ledger::ClassCounts touched_;
    std::uint64_t asked_ = 0;
    std::uint64_t touched_guide_data_ = 0;
};

}  // namespace gc::measure

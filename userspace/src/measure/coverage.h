// SPDX-License-Identifier: GPL-2.0-or-later
// How good the guide was: the pages pushed for it, compared with those that the VM then touched.
#pragma once

#include "ledger/ledger.h"
#include "measure/touched.h"
#include "report/report.h"

namespace gc::measure {

/// Counts pages of guest RAM, each once.
class Coverage {
  public:
    /// @param ledger must outlive this object, keep deliveries, and not change any more
    explicit Coverage(const ledger::Ledger& ledger) : ledger_(ledger) {}

    /// Errors: protocol, if such pages do not exist or were never delivered.
    Result<void> add(const Touched& touched);

    /// Shares and counts of all added pages. Leaves the destination's own figures at their
    /// defaults.
    [[nodiscard]] report::MeasureReport result() const;

  private:
    [[nodiscard]] Result<void> add(std::size_t block, const Run& run, bool asked);

    const ledger::Ledger& ledger_;
    ledger::ClassCounts touched_;
    std::uint64_t asked_ = 0;
    std::uint64_t touched_guide_data_ = 0;
};

}  // namespace gc::measure

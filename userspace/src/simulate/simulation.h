// SPDX-License-Identifier: GPL-2.0-or-later
// A migration as it would be: VMs that all leave one host, over one link. Discrete events, no I/O,
// the same result each time.
#pragma once

#include "report/histogram.h"
#include "report/report.h"
#include "simulate/workload.h"

namespace gc::simulate {

struct Outcome {
    Duration downtime{0};  ///< of the VM that had the longest
    Duration total{0};     ///< from the first switch-over until all pages of all VMs are there
    Duration waited{0};    ///< that vCPUs waited for pages, of all together
    std::uint64_t vcpus = 0;
    ledger::ClassCounts pages, bytes;
    report::Demand demand;
    std::uint64_t guide_records = 0;
    Duration guide_blocked{0};
};

/// @param workload of each of the VMs
/// @param scenario with rates above 0, a lead and a VM at least
Outcome run(const Workload& workload, const Scenario& scenario);

}  // namespace gc::simulate

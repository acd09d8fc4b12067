// SPDX-License-Identifier: GPL-2.0-or-later
// Simulates migrations: VMs that all leave one host over one link. Discrete events, no I/O,
// deterministic.
#pragma once

#include "report/histogram.h"
#include "report/report.h"
#include "simulate/workload.h"

namespace gc::simulate {

struct Outcome {
    Duration downtime{0};  ///< the longest of all VMs
    Duration total{0};     ///< from the first switch-over until all pages of all VMs have arrived
    Duration waited{0};    ///< how long vCPUs waited for pages; the sum over all vCPUs
    std::uint64_t vcpus = 0;
    ledger::ClassCounts pages, bytes;
    report::Demand demand;
    std::uint64_t guide_records = 0;
    Duration guide_blocked{0};
};

/// @param workload of each VM
/// @param scenario with rates above 0, and at least one VM and one page of lead
Outcome run(const Workload& workload, const Scenario& scenario);

}  // namespace gc::simulate

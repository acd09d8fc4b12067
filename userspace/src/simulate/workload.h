// SPDX-License-Identifier: GPL-2.0-or-later
// What a VM does after switch-over, derived from an access trace.
#pragma once

#include "simulate/scenario.h"
#include "trace/trace.h"
#include "util/error.h"

#include <vector>

namespace gc::simulate {

/// The first touch of a page after switch-over. Later touches find the page in place.
struct Touch {
    std::uint32_t page = 0;  ///< index in Workload::pages
    Duration at{0};          ///< in a VM that never waits
    bool operator==(const Touch&) const = default;
};

struct Workload {
    std::vector<std::uint64_t> pages;       ///< touched pages, in rising order
    std::vector<std::vector<Touch>> vcpus;  ///< each vCPU's touches, in order
    std::uint64_t memory = 0;               ///< number of the VM's pages
    double zeros = 0;                       ///< share of zero pages among untouched pages
    Duration span{0};                       ///< from switch-over to the end of the trace

    [[nodiscard]] std::uint64_t untouched() const { return memory - pages.size(); }
    /// Untouched data pages before pages[index]; before the end of memory for pages.size(). Zero
    /// pages are spread evenly between them.
    [[nodiscard]] std::uint64_t data_before(std::size_t index) const;
};

struct Replay {
    Duration at{0};            ///< moment of the trace at which the VM switches over
    std::uint64_t memory = 0;  ///< bytes of the VM; 0 means those of the traced VM
    double zeros = 0;          ///< see Workload
    /// Speed relative to the traced VM, to simulate a faster machine than the traced one.
    double speed = 1;
    /// Number of copies of the traced load side by side; multiplies vCPUs, touches and touched
    /// pages.
    std::uint32_t load = 1;
};

/// Pages keep their order and are spread over all of the memory, so that a sweep in address order
/// reaches the touched pages at the same fraction of its way as in the traced VM.
/// Errors: usage (a trace without the needed details, with what to record instead; memory too
/// small; no touch after `at`).
Result<Workload> make_workload(const trace::Trace& trace, const Replay& replay);

}  // namespace gc::simulate

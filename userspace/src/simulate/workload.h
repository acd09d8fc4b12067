// SPDX-License-Identifier: GPL-2.0-or-later
// What a VM does from its switch-over on, made from an access trace.
#pragma once

#include "simulate/scenario.h"
#include "trace/trace.h"
#include "util/error.h"

#include <vector>

namespace gc::simulate {

/// The first touch of a page after switch-over. Later ones find it there.
struct Touch {
    std::uint32_t page = 0;  ///< index in Workload::pages
    Duration at{0};          ///< on a VM that waits for nothing
    bool operator==(const Touch&) const = default;
};

struct Workload {
    std::vector<std::uint64_t> pages;       ///< that are touched, in rising order
    std::vector<std::vector<Touch>> vcpus;  ///< of each vCPU its touches, in their order
    std::uint64_t memory = 0;               ///< pages that the VM has
    double zeros = 0;                       ///< of those that are not touched: share of zeros
    Duration span{0};                       ///< from switch-over to the end of the trace

    [[nodiscard]] std::uint64_t untouched() const { return memory - pages.size(); }
    /// Data pages among those not touched that lie before pages[index]; before the end of memory
    /// for pages.size(). Pages of zeros lie evenly between them.
    [[nodiscard]] std::uint64_t data_before(std::size_t index) const;
};

struct Replay {
    Duration at{0};            ///< moment of the trace at which the VM switches over
    std::uint64_t memory = 0;  ///< bytes that the VM has; 0: as much as the traced one
    double zeros = 0;          ///< see Workload
    /// So many times as fast as the traced VM: a trace of a slow machine on a fast one.
    double speed = 1;
    /// So many of the traced VM's loads side by side: as many times its vCPUs, its touches and the
    /// pages touched.
    std::uint32_t load = 1;
};

/// Pages keep their order and are stretched over all of the memory, so that a sweep in the order of
/// addresses comes to the touched ones as late as in the traced VM, as a share of its way.
/// Errors: usage, for a trace that does not tell what is needed, saying what to record; memory too
/// small; nothing after `at`.
Result<Workload> make_workload(const trace::Trace& trace, const Replay& replay);

}  // namespace gc::simulate

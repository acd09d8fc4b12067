// SPDX-License-Identifier: GPL-2.0-or-later
// Turns the outcome of a simulation into a migration report.
#pragma once

#include "simulate/options.h"
#include "simulate/simulation.h"

namespace gc::simulate {

report::Report make_report(const Options& options, const Workload& workload,
                           const Outcome& outcome);

}  // namespace gc::simulate

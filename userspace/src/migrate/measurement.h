// SPDX-License-Identifier: GPL-2.0-or-later
// The last thing of a migration that is measured: what the VM touched at the destination.
#pragma once

#include "ledger/ledger.h"
#include "peer/protocol.h"
#include "report/report.h"
#include "util/signals.h"

#include <chrono>

namespace gc::migrate {

/// Waits for what `gcctl receive --measure` tells after "completed", and holds it against what was
/// sent.
/// @param ledger has kept the deliveries
/// @param time that the destination measures for
/// Errors: io (the destination is gone, or could not measure, or takes too long), protocol,
/// cancelled by a signal.
Result<report::MeasureReport> take_measurement(peer::Control& control, Signals& signals,
                                               const ledger::Ledger& ledger,
                                               std::chrono::milliseconds time);

}  // namespace gc::migrate

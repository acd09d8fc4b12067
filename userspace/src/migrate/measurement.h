// SPDX-License-Identifier: GPL-2.0-or-later
// The last step of a measured migration: which pages the VM touched at the destination.
#pragma once

#include "ledger/ledger.h"
#include "peer/control.h"
#include "report/report.h"
#include "util/signals.h"

#include <chrono>

namespace gc::migrate {

/// Waits for the messages that `gcctl receive --measure` sends after "completed", and compares them
/// with what was sent.
/// @param ledger with kept deliveries
/// @param time how long the destination measures
/// Errors: io (the destination is gone, could not measure, or takes too long), protocol, cancelled
/// (by a signal).
Result<report::MeasureReport> take_measurement(peer::Control& control, Signals& signals,
                                               const ledger::Ledger& ledger,
                                               std::chrono::milliseconds time);

}  // namespace gc::migrate

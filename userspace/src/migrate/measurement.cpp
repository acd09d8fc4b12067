// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/measurement.h"

#include "measure/coverage.h"
#include "util/deadline.h"

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

/// Extra time for the destination to collect and send its figures.
constexpr auto report_timeout = 60s;
constexpr auto tick = 250ms;

}  // namespace

Result<report::MeasureReport> take_measurement(peer::Control& control, Signals& signals,
                                               const ledger::Ledger& ledger,
                                               std::chrono::milliseconds time) {
    measure::Coverage coverage(ledger);
    const Deadline deadline(time + report_timeout);
    while (!deadline.expired()) {
        if (signals.take())
            return fail(ErrorKind::cancelled, "interrupted");
        GC_TRY(const auto message, control.receive(tick));
        if (!message)
            continue;
        if (const auto* touched = std::get_if<peer::Touched>(&*message)) {
            GC_CHECK(coverage.add(touched->pages));
        } else if (const auto* measured = std::get_if<peer::Measured>(&*message)) {
            if (!measured->problem.empty())
                return fail(ErrorKind::io, "{}", measured->problem);
            report::MeasureReport report = coverage.result();
            report.time_ms = measured->time_ms;
            report.unresolved = measured->unresolved;
            return report;
        }
    }
    return fail(ErrorKind::io, "the destination's gcctl did not send its measurement within {} s",
                std::chrono::ceil<std::chrono::seconds>(time + report_timeout).count());
}

}  // namespace gc::migrate

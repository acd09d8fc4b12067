// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/measurement.h"

#include "measure/coverage.h"
#include "util/deadline.h"

#include <nlohmann/json.hpp>

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
        const std::string type = message ? message->value("type", "") : "";
        if (type == "touched") {
            GC_TRY(const measure::Touched touched, measure::from_message(*message));
            GC_CHECK(coverage.add(touched));
        } else if (type == "measured" && message->contains("problem")) {
            return fail(ErrorKind::io, "{}", message->value("problem", "no reason given"));
        } else if (type == "measured") {
            report::MeasureReport report = coverage.result();
            report.time_ms = message->value("time_ms", 0.0);
            report.unresolved = message->value("unresolved", std::uint64_t{0});
            return report;
        }
    }
    return fail(ErrorKind::io, "the destination's gcctl did not send its measurement within {} s",
                std::chrono::ceil<std::chrono::seconds>(time + report_timeout).count());
}

}  // namespace gc::migrate

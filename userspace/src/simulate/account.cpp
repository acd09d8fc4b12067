// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/account.h"

#include "util/milliseconds.h"
#include "util/page.h"

namespace gc::simulate {

report::Report make_report(const Options& options, const Workload& workload,
                           const Outcome& outcome) {
    const Scenario& scenario = options.scenario;
    report::Report report;
    report.result = report::Outcome::completed;
    report.mode = scenario.guide ? report::Mode::guide : report::Mode::postcopy;
    report.downtime_ms = in_ms(outcome.downtime);
    report.total_ms = in_ms(outcome.total);
    report.pages = outcome.pages;
    report.bytes = outcome.bytes;
    report.demand = outcome.demand.report();
    if (scenario.guide)
        report.guide = {.started = true,
                        .load_ms = in_ms(scenario.costs.load),
                        .records = outcome.guide_records,
                        .pushed = outcome.pages.in[ledger::PageClass::guide],
                        .blocked_ms = in_ms(outcome.guide_blocked),
                        .sent = {},
                        .mirror = {},
                        .ended = report::GuideEnd::complete,
                        .reason = {}};
    report.policy.name = options.policy;
    report.simulated = report::SimulatedReport{.trace = options.trace,
                                               .trace_ms = in_ms(workload.span),
                                               .link_bytes_per_s = options.link,
                                               .rtt_us = 1000 * in_ms(scenario.rtt),
                                               .vms = scenario.vms,
                                               .vcpus = outcome.vcpus,
                                               .memory_bytes = workload.memory * page_size,
                                               .touched = workload.pages.size(),
                                               .waited_ms = in_ms(outcome.waited)};
    return report;
}

}  // namespace gc::simulate

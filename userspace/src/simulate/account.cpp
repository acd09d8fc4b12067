// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/account.h"

#include "util/page.h"

namespace gc::simulate {
namespace {

double ms(Duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

report::Report make_report(const Options& options, const Workload& workload,
                           const Outcome& outcome) {
    const Scenario& scenario = options.scenario;
    report::Report report;
    report.result = report::Outcome::completed;
    report.mode = scenario.guide ? report::Mode::guide : report::Mode::postcopy;
    report.downtime_ms = ms(outcome.downtime);
    report.total_ms = ms(outcome.total);
    report.pages = outcome.pages;
    report.bytes = outcome.bytes;
    report.demand = outcome.demand.report();
    if (scenario.guide)
        report.guide = {.started = true,
                        .load_ms = ms(scenario.costs.load),
                        .records = outcome.guide_records,
                        .pushed = outcome.pages.in[ledger::PageClass::guide],
                        .blocked_ms = ms(outcome.guide_blocked),
                        .sent = {},
                        .mirror = {},
                        .ended = report::GuideEnd::complete,
                        .reason = {}};
    report.policy.name = options.policy;
    report.simulated = report::SimulatedReport{.trace = options.trace,
                                               .trace_ms = ms(workload.span),
                                               .link_bytes_per_s = options.link,
                                               .rtt_us = 1000 * ms(scenario.rtt),
                                               .vms = scenario.vms,
                                               .vcpus = outcome.vcpus,
                                               .memory_bytes = workload.memory * page_size,
                                               .touched = workload.pages.size(),
                                               .waited_ms = ms(outcome.waited)};
    return report;
}

}  // namespace gc::simulate

// SPDX-License-Identifier: GPL-2.0-or-later
#include "metrics/migration.h"

#include "metrics/families.h"

#include <array>
#include <cmath>

namespace gc::metrics {
namespace {

constexpr std::array duration_bounds{1.0,   2.5,   5.0,   10.0,   30.0,   60.0,
                                     120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0};
constexpr std::array downtime_bounds{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0};

constexpr std::array<std::string_view, 5> results{"completed", "failed", "refused", "cancelled",
                                                  "needs-operator"};

/// Of all buckets but the last, which has no upper bound.
constexpr auto stall_bounds = [] {
    std::array<double, report::Histogram::buckets - 1> bounds{};
    double us = 2;
    for (double& bound : bounds) {
        bound = us / 1e6;
        us *= 2;
    }
    return bounds;
}();

/// What both ends count.
void count(Exposition& exposition, std::string_view role, std::optional<ErrorKind> failure,
           double seconds, const report::DemandReport& demand,
           std::chrono::system_clock::time_point end) {
    const Labels labels{{"role", role}};
    // A counter that appears only with its first event has no increase that Prometheus can see.
    for (const std::string_view result : results)
        exposition.add(migrations, {{"role", role}, {"result", result}}, 0);
    exposition.add(migrations, {{"role", role}, {"result", result_of(failure)}}, 1);
    if (!failure)
        exposition.observe(duration, labels, duration_bounds, seconds);
    exposition.observe(stalls, labels, stall_bounds, demand.histogram_us, demand.stall_ms / 1000);
    exposition.set(last_end, labels, timestamp(end));
    exposition.set(last_success, labels, failure ? 0 : 1);
    exposition.set(last_duration, labels, seconds);
    exposition.set(last_faults, labels, static_cast<double>(demand.faults));
    exposition.set(last_stall, labels, demand.stall_ms / 1000);
}

}  // namespace

std::string_view result_of(std::optional<ErrorKind> failure) {
    if (!failure)
        return "completed";
    switch (*failure) {
    case ErrorKind::usage:
    case ErrorKind::unsupported:
        return "refused";
    case ErrorKind::cancelled:
        return "cancelled";
    case ErrorKind::needs_operator:
        return "needs-operator";
    case ErrorKind::protocol:
    case ErrorKind::io:
        break;
    }
    return "failed";
}

double timestamp(std::chrono::system_clock::time_point time) {
    // A tenth of a second is enough.
    const double seconds = std::chrono::duration<double>(time.time_since_epoch()).count();
    return std::round(seconds * 10) / 10;
}

void count_migration(Exposition& exposition, const report::Report& report,
                     std::optional<ErrorKind> failure, std::chrono::system_clock::time_point end) {
    count(exposition, "source", failure, report.total_ms / 1000, report.demand, end);
    if (!failure)
        exposition.observe(downtime, {}, downtime_bounds, report.downtime_ms / 1000);
    for (const ledger::PageClass page_class : ledger::page_classes) {
        const Labels labels{{"class", ledger::name(page_class)}};
        exposition.add(sent_bytes, labels, static_cast<double>(report.bytes.in[page_class]));
        exposition.add(sent_pages, labels, static_cast<double>(report.pages.in[page_class]));
    }
    exposition.add(guides, {{"ended", report::name(report.guide.ended)}}, 1);
    exposition.add(connection_losses, {}, static_cast<double>(report.connection_losses));
    exposition.set(last_downtime, {}, report.downtime_ms / 1000);
    exposition.set(last_bytes, {}, static_cast<double>(report.bytes.total));
}

void count_received(Exposition& exposition, const Received& received) {
    count(exposition, "destination", received.failure, received.duration.count(), received.demand,
          received.end);
}

}  // namespace gc::metrics

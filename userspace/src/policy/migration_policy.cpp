// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/migration_policy.h"

#include <algorithm>
#include <cerrno>
#include <sys/socket.h>

namespace gc::policy {
namespace {

/// The traffic between two readings. The maximum delay is that since the policy was attached.
report::TrafficCounts difference(const gc_class_stats& after, const gc_class_stats& before) {
    constexpr double ns_per_ms = 1e6;
    return {.packets = after.packets - before.packets,
            .bytes = after.bytes - before.bytes,
            .drops = after.drops - before.drops,
            .delayed = after.delayed - before.delayed,
            .delay_ms = static_cast<double>(after.delay_ns - before.delay_ns) / ns_per_ms,
            .delay_max_ms = static_cast<double>(after.delay_max_ns) / ns_per_ms};
}

/// The traffic class of the packets that carry pages of a class.
gc_class traffic_class(ledger::PageClass page_class) {
    switch (page_class) {
    case ledger::PageClass::urgent:
        return GC_URGENT;
    case ledger::PageClass::guide:
        return GC_GUIDE;
    case ledger::PageClass::warm:
        return GC_WARM;
    case ledger::PageClass::precopy:
    case ledger::PageClass::background:
        break;
    }
    return GC_BACKGROUND;
}

}  // namespace

Result<MigrationPolicy> MigrationPolicy::begin(const PolicyLease::Request& request) {
    GC_TRY(PolicyLease lease, PolicyLease::begin(request));
    GC_TRY(const Status status, lease.status());
    const std::uint32_t mark = lease.mark(GC_URGENT);
    if (::setsockopt(request.peer, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0)
        return fail_errno(errno, "set SO_MARK");
    return MigrationPolicy(std::move(lease), status, request);
}

MigrationPolicy::MigrationPolicy(PolicyLease lease, const Status& status,
                                 const PolicyLease::Request& request)
    : lease_(std::move(lease)), before_(status.counters) {
    if (policy_name() != request.policy)
        warnings_.push_back(
            fmt::format("{} already has the policy '{}', which applies instead of '{}'", device(),
                        policy_name(), request.policy));
    if (!request.object.empty() && lease_.object() != request.object)
        warnings_.push_back(fmt::format(
            "--policy-object is ignored: {} already has a policy with {}", device(),
            lease_.object().empty() ? "gcctl's own program" : "the program " + lease_.object()));
    if (request.link_bytes_per_s && *request.link_bytes_per_s != status.link_bytes_per_s)
        warnings_.push_back(
            fmt::format("--policy-link is ignored: {} already has the policy '{}' for a link of {} "
                        "bytes/s; change it with gcctl policy set --dev {} --link RATE",
                        device(), policy_name(), status.link_bytes_per_s, device()));
    if (const std::string warning = status.warning(); !warning.empty())
        warnings_.push_back(warning);
}

ledger::PerClass<std::uint32_t> MigrationPolicy::marks() const {
    ledger::PerClass<std::uint32_t> marks;
    for (const ledger::PageClass page_class : ledger::page_classes)
        marks[page_class] = lease_.mark(traffic_class(page_class));
    return marks;
}

report::PolicyReport MigrationPolicy::end() {
    report::PolicyReport report{.name = lease_.policy_name(),
                                .device = lease_.device(),
                                .object = lease_.object(),
                                .joined = lease_.joined(),
                                .reason = {},
                                .classes = {},
                                .tenants = {}};
    if (const auto status = lease_.status()) {
        if (!status->missing.empty())
            report.reason = fmt::format("removed during the migration: {}", status->missing);
        for (unsigned index = 0; index < GC_CLASSES; ++index)
            report.classes.emplace(class_name(index),
                                   difference(status->counters[index], before_[index]));
        report.tenants = difference(status->counters[GC_TENANTS], before_[GC_TENANTS]);
    } else {
        report.reason = status.error().message;
    }
    if (auto ended = lease_.end(); !ended)
        report.reason = ended.error().message;
    return report;
}

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/shaping.h"

#include <algorithm>
#include <cerrno>
#include <sys/socket.h>

namespace gc::migrate {
namespace {

/// What passed between two readings. The longest delay is that of all time.
TrafficCounts difference(const gc_class_stats& after, const gc_class_stats& before) {
    constexpr double ns_per_ms = 1e6;
    return {.packets = after.packets - before.packets,
            .bytes = after.bytes - before.bytes,
            .drops = after.drops - before.drops,
            .delayed = after.delayed - before.delayed,
            .delay_ms = static_cast<double>(after.delay_ns - before.delay_ns) / ns_per_ms,
            .delay_max_ms = static_cast<double>(after.delay_max_ns) / ns_per_ms};
}

}  // namespace

Result<Shaping> Shaping::begin(const Options& options, int control) {
    GC_TRY(shape::Use use, shape::Use::begin({.policy = options.policy,
                                              .device = options.policy_device,
                                              .link = options.policy_link,
                                              .peer = control}));
    GC_TRY(const shape::Status status, use.status());
    const std::uint32_t mark = use.mark(GC_URGENT);
    if (::setsockopt(control, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0)
        return fail_errno(errno, "mark a socket (SO_MARK)");
    return Shaping(std::move(use), status, options);
}

Shaping::Shaping(shape::Use use, const shape::Status& status, const Options& options)
    : use_(std::move(use)), before_(status.counters) {
    if (policy_name() != options.policy)
        warnings_.push_back(fmt::format("{} has the policy '{}' already: it holds, not '{}'",
                                        device(), policy_name(), options.policy));
    if (options.policy_link && *options.policy_link != status.link)
        warnings_.push_back(fmt::format("--policy-link is not heeded: {} has the policy '{}' "
                                        "already, for a link of {} bytes/s; gcctl policy set "
                                        "--dev {} --link changes that",
                                        device(), policy_name(), status.link, device()));
    if (const std::string warning = status.warning(); !warning.empty())
        warnings_.push_back(warning);
}

Marks Shaping::marks() const {
    Marks marks;
    const auto mark = [&](Class page, gc_class traffic) {
        marks[static_cast<std::size_t>(page)] = use_.mark(traffic);
    };
    mark(Class::precopy, GC_BACKGROUND);
    mark(Class::urgent, GC_URGENT);
    mark(Class::guide, GC_GUIDE);
    mark(Class::warm, GC_WARM);
    mark(Class::background, GC_BACKGROUND);
    return marks;
}

PolicyReport Shaping::end() {
    PolicyReport report{.name = use_.policy_name(),
                        .device = use_.device(),
                        .joined = use_.joined(),
                        .reason = {},
                        .classes = {},
                        .tenants = {}};
    if (const auto status = use_.status()) {
        if (!status->missing.empty())
            report.reason =
                fmt::format("somebody took {} away while the migration ran", status->missing);
        for (unsigned index = 0; index < GC_CLASSES; ++index)
            report.classes.emplace_back(shape::class_name(index),
                                        difference(status->counters[index], before_[index]));
        report.tenants = difference(status->counters[GC_TENANTS], before_[GC_TENANTS]);
    } else {
        report.reason = status.error().message;
    }
    if (auto ended = use_.end(); !ended)
        report.reason = ended.error().message;
    return report;
}

}  // namespace gc::migrate

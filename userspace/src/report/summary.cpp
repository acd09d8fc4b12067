// SPDX-License-Identifier: GPL-2.0-or-later
// The report as a table for people.
#include "report/report.h"

#include <fmt/core.h>

namespace gc::report {
namespace {

std::string simulated_lines(const SimulatedReport& simulated) {
    return fmt::format("  simulated: nothing was moved; {} VM(s) of {:.1f} GiB, {} vCPUs together, "
                       "each touches {} pages in {:.1f} s of {}\n"
                       "  link {:.2f} Gbit/s, round trip {:.0f} us; vCPUs waited {:.1f} ms "
                       "together\n",
                       simulated.vms, static_cast<double>(simulated.memory_bytes) / (1 << 30),
                       simulated.vcpus, simulated.touched, simulated.trace_ms / 1000,
                       simulated.trace, static_cast<double>(simulated.link_bytes_per_s) * 8e-9,
                       simulated.rtt_us, simulated.waited_ms);
}

std::string policy_line(const PolicyReport& policy) {
    std::uint64_t delayed = 0, drops = 0;
    double delay = 0;
    for (const auto& [name, counts] : policy.classes) {
        delayed += counts.delayed;
        drops += counts.drops;
        delay += counts.delay_ms;
    }
    return fmt::format(
        "  policy: {} on {}; others sent {:.1f} MiB; {} packets held back, {:.1f} ms "
        "on average, {} dropped\n",
        policy.name, policy.device, static_cast<double>(policy.tenants.bytes) / (1 << 20), delayed,
        delayed == 0 ? 0 : delay / static_cast<double>(delayed), drops);
}

std::string measured_line(const MeasureReport& measured) {
    const auto share = [](const std::optional<double>& value) {
        return value ? fmt::format("{:.1f} %", 100 * *value) : "-";
    };
    return fmt::format("  measured for {:.1f} s: {} pages touched, coverage {}, accuracy {}, waste "
                       "{:.1f} MiB\n",
                       measured.time_ms / 1000, measured.touched.total, share(measured.coverage),
                       share(measured.accuracy),
                       static_cast<double>(measured.waste_bytes) / (1 << 20));
}

std::string class_row(std::string_view name, std::uint64_t pages, std::uint64_t bytes,
                      std::uint64_t total) {
    const double share =
        total == 0 ? 0 : 100.0 * static_cast<double>(pages) / static_cast<double>(total);
    return fmt::format("  {:<12}{:>12}{:>7.1f} %{:>12.1f} MiB\n", name, pages, share,
                       static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

std::string summary(const Report& report) {
    const auto& [schema, result, error, mode, capture, capture_reason, downtime_ms, total_ms, pages,
                 bytes, precopy, demand, zeros, compress, qemu_postcopy, guide, forward, next, hot,
                 policy, security, connection_losses, disconnected_ms, measured, simulated, qemu,
                 kernel] = report;
    std::string text = fmt::format(
        "{}{}: {} ({:.0f} ms in all, {:.1f} ms downtime)\n", simulated ? "simulated " : "",
        mode == Mode::guide ? "guide-copy" : "post-copy", name(result), total_ms, downtime_ms);
    if (simulated)
        text += simulated_lines(*simulated);
    if (!error.empty())
        text += fmt::format("  {}\n", error);
    text += fmt::format("  {:<12}{:>12}{:>9}{:>16}\n", "sent as", "pages", "share", "on the wire");
    for (const ledger::PageClass page_class : ledger::page_classes)
        text += class_row(ledger::name(page_class), pages.in[page_class], bytes.in[page_class],
                          pages.total);
    text += class_row("total", pages.total, bytes.total, pages.total);
    text += fmt::format("  of these {} were zero pages", pages.zero);
    text += zeros.pages == 0
                ? std::string("\n")
                : fmt::format(", {} of them told in {} runs\n", zeros.pages, zeros.runs);
    if (precopy.ended != PrecopyEnd::off)
        text += fmt::format("  pre-copy ended: {}; rounds seen: {}\n", name(precopy.ended),
                            precopy.rounds_ms.size());
    if (compress.bytes > 0)
        text +=
            fmt::format("  {:.1f} MiB were compressed to {:.1f} MiB, in {:.0f} ms of CPU time\n",
                        static_cast<double>(compress.bytes) / (1 << 20),
                        static_cast<double>(compress.sent) / (1 << 20), compress.cpu_ms);
    if (!compress.reason.empty())
        text += fmt::format("  nothing was compressed: {}\n", compress.reason);
    if (next.pages > 0)
        text += fmt::format("  of the warm {} were sent ahead after demand faults, {} after each\n",
                            next.sent, next.pages);
    text +=
        fmt::format("  demand faults {}, stalled {:.1f} ms (p50 {} us, p99 {} us, p99.9 {} us)\n",
                    demand.faults, demand.stall_ms, demand.p50_us, demand.p99_us, demand.p999_us);
    if (demand.local > 0)
        text += fmt::format("  and {} faults on zero pages answered at the destination, stalled "
                            "{:.1f} ms\n",
                            demand.local, demand.local_ms);
    if (qemu_postcopy)
        text += fmt::format("  QEMU itself: faults took {:.1f} us on average, all vCPUs waited at "
                            "once for {} ms\n",
                            static_cast<double>(qemu_postcopy->latency_ns) / 1000,
                            qemu_postcopy->blocktime_ms);
    text += fmt::format("  guide: {}{}{}", name(guide.ended), guide.reason.empty() ? "" : ", ",
                        guide.reason);
    if (guide.started)
        text +=
            fmt::format("; loaded in {:.1f} ms, for which the VM waited {:.1f} ms, {} first "
                        "touches captured by {}, {} pages pushed, {} lost, "
                        "{} MiB of memory, {} packets into its quarantine",
                        guide.load_ms, guide.waited_ms, guide.records, name(capture), guide.pushed,
                        guide.dropped, guide.memory_bytes >> 20, guide.sent.packets);
    text += '\n';
    if (guide.mirror.on)
        text += fmt::format("  the guide was shown {} packets for the VM, {} were dropped; of {} "
                            "connections {} in step, {} dead\n",
                            guide.mirror.packets, guide.mirror.dropped, guide.mirror.connections,
                            guide.mirror.in_step, guide.mirror.dead);
    if (forward.packets + forward.dropped > 0)
        text += fmt::format("  {} packets that arrived for the VM at the source were sent after "
                            "it, {} were delivered, {} dropped\n",
                            forward.packets, forward.delivered, forward.dropped + forward.refused);
    if (!policy.device.empty())
        text += policy_line(policy);
    if (security.protection == Protection::tls)
        text +=
            fmt::format("  secured by {}; the destination is {}\n", security.cipher, security.peer);
    if (security.protection == Protection::insecure)
        text += "  NOT SECURED: everything was sent in clear (--insecure)\n";
    if (connection_losses > 0)
        text += fmt::format("  connections were lost {} times, and missing for {:.1f} s\n",
                            connection_losses, disconnected_ms / 1000);
    return measured ? text + measured_line(*measured) : text;
}

}  // namespace gc::report

// SPDX-License-Identifier: GPL-2.0-or-later
#include "report/report.h"

#include "report/histogram.h"
#include "util/whole_file.h"

#include <nlohmann/json.hpp>

namespace gc::report {
namespace {

nlohmann::json as_json(const ClassCounts& counts) {
    return {{"total", counts.total}, {"precopy", counts.precopy}, {"urgent", counts.urgent},
            {"guide", counts.guide}, {"warm", counts.warm},       {"background", counts.background},
            {"zero", counts.zero}};
}

nlohmann::json as_json(const SentReport& sent) {
    return {{"packets", sent.packets},
            {"bytes", sent.bytes},
            {"arp", sent.arp},
            {"ipv4", sent.ipv4},
            {"ipv6", sent.ipv6},
            {"other", sent.other},
            {"dropped_by", sent.dropped_by}};
}

nlohmann::json as_json(const GuideReport& guide) {
    return {{"started", guide.started},       {"load_ms", guide.load_ms},
            {"waited_ms", guide.waited_ms},   {"records", guide.records},
            {"pushed", guide.pushed},         {"dropped", guide.dropped},
            {"blocked_ms", guide.blocked_ms}, {"memory_bytes", guide.memory_bytes},
            {"sent", as_json(guide.sent)},    {"ended", guide.ended},
            {"reason", guide.reason}};
}

nlohmann::json as_json(const MeasureReport& measured) {
    const auto share = [](const std::optional<double>& value) {
        return value ? nlohmann::json(*value) : nlohmann::json();
    };
    return {{"time_ms", measured.time_ms},
            {"touched", as_json(measured.touched)},
            {"asked", measured.asked},
            {"coverage", share(measured.coverage)},
            {"accuracy", share(measured.accuracy)},
            {"waste_bytes", measured.waste_bytes},
            {"unresolved", measured.unresolved}};
}

nlohmann::json as_json(const TrafficCounts& counts) {
    return {{"packets", counts.packets},   {"bytes", counts.bytes},
            {"drops", counts.drops},       {"delayed", counts.delayed},
            {"delay_ms", counts.delay_ms}, {"delay_max_ms", counts.delay_max_ms}};
}

nlohmann::json as_json(const PolicyReport& policy) {
    nlohmann::json classes = nlohmann::json::object();
    for (const auto& [name, counts] : policy.classes)
        classes[name] = as_json(counts);
    return {{"name", policy.name},     {"device", policy.device},
            {"joined", policy.joined}, {"reason", policy.reason},
            {"classes", classes},      {"tenants", as_json(policy.tenants)}};
}

nlohmann::json as_json(const SimulatedReport& simulated) {
    return {{"trace", simulated.trace},
            {"trace_ms", simulated.trace_ms},
            {"link", simulated.link},
            {"rtt_us", simulated.rtt_us},
            {"vms", simulated.vms},
            {"vcpus", simulated.vcpus},
            {"memory_bytes", simulated.memory_bytes},
            {"touched", simulated.touched},
            {"waited_ms", simulated.waited_ms}};
}

std::string simulated_lines(const SimulatedReport& simulated) {
    return fmt::format("  simulated: nothing was moved; {} VM(s) of {:.1f} GiB, {} vCPUs together, "
                       "each touches {} pages in {:.1f} s of {}\n"
                       "  link {:.2f} Gbit/s, round trip {:.0f} us; vCPUs waited {:.1f} ms "
                       "together\n",
                       simulated.vms, static_cast<double>(simulated.memory_bytes) / (1 << 30),
                       simulated.vcpus, simulated.touched, simulated.trace_ms / 1000,
                       simulated.trace, static_cast<double>(simulated.link) * 8e-9,
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

nlohmann::json Report::to_json() const {
    return {{"schema", "guidecopy.report/1"},
            {"result", result},
            {"error", error},
            {"mode", mode},
            {"capture", capture},
            {"downtime_ms", downtime_ms},
            {"total_ms", total_ms},
            {"pages", as_json(pages)},
            {"bytes", as_json(bytes)},
            {"demand", demand.is_null() ? Demand{}.to_json() : demand},
            {"guide", as_json(guide)},
            {"next", {{"pages", next.pages}, {"sent", next.sent}}},
            {"hot", {{"from", hot.from}, {"pages", hot.pages}, {"reason", hot.reason}}},
            {"policy", as_json(policy)},
            {"measured", measured ? as_json(*measured) : nlohmann::json()},
            {"simulated", simulated ? as_json(*simulated) : nlohmann::json()},
            {"qemu", {{"source", source_qemu}, {"destination", destination_qemu}}},
            {"kernel", kernel}};
}

std::string Report::summary() const {
    const nlohmann::json asked = demand.is_null() ? Demand{}.to_json() : demand;
    std::string text = fmt::format(
        "{}{}: {} ({:.0f} ms in all, {:.1f} ms downtime)\n", simulated ? "simulated " : "",
        mode == "guide" ? "guide-copy" : "post-copy", result, total_ms, downtime_ms);
    if (simulated)
        text += simulated_lines(*simulated);
    if (!error.empty())
        text += fmt::format("  {}\n", error);
    text += fmt::format("  {:<12}{:>12}{:>9}{:>16}\n", "sent as", "pages", "share", "on the wire");
    text += class_row("pre-copy", pages.precopy, bytes.precopy, pages.total);
    text += class_row("urgent", pages.urgent, bytes.urgent, pages.total);
    text += class_row("guide", pages.guide, bytes.guide, pages.total);
    text += class_row("warm", pages.warm, bytes.warm, pages.total);
    text += class_row("background", pages.background, bytes.background, pages.total);
    text += class_row("total", pages.total, bytes.total, pages.total);
    text += fmt::format("  of these {} were zero pages\n", pages.zero);
    if (next.pages > 0)
        text += fmt::format("  of the warm {} were sent ahead after demand faults, {} after each\n",
                            next.sent, next.pages);
    text += fmt::format(
        "  demand faults {}, stalled {:.1f} ms (p50 {} us, p99 {} us, p99.9 {} us)\n",
        asked.value("faults", 0ULL), asked.value("stall_ms", 0.0), asked.value("p50_us", 0ULL),
        asked.value("p99_us", 0ULL), asked.value("p999_us", 0ULL));
    text +=
        fmt::format("  guide: {}{}{}", guide.ended, guide.reason.empty() ? "" : ", ", guide.reason);
    if (guide.started)
        text += fmt::format("; loaded in {:.1f} ms, for which the VM waited {:.1f} ms, {} first "
                            "touches, {} pages pushed, {} lost, "
                            "{} MiB of memory, {} packets into its quarantine",
                            guide.load_ms, guide.waited_ms, guide.records, guide.pushed,
                            guide.dropped, guide.memory_bytes >> 20, guide.sent.packets);
    text += '\n';
    if (!policy.device.empty())
        text += policy_line(policy);
    return measured ? text + measured_line(*measured) : text;
}

Result<void> write_report(const Report& report, const std::string& path) {
    return write_whole_file(path, report.to_json().dump(2) + "\n");
}

}  // namespace gc::report

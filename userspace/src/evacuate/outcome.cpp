// SPDX-License-Identifier: GPL-2.0-or-later
#include "evacuate/outcome.h"

#include "options/arguments.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>

namespace gc::evacuate {
namespace {

constexpr std::array<std::string_view, 7> fate_names{
    "moved", "kept", "refused", "failed", "needs-operator", "cancelled", "waiting"};

double in_mib(std::uint64_t bytes) {
    return static_cast<double>(bytes) / (1 << 20);
}

}  // namespace

std::string_view name(Fate fate) {
    return fate_names[static_cast<std::size_t>(fate)];
}

Fate fate_of(int status) {
    switch (status) {
    case options::exit_done:
        return Fate::moved;
    case options::exit_usage:
    case options::exit_refused:
        return Fate::refused;
    case options::exit_failed:
        return Fate::failed;
    case options::exit_cancelled:
        return Fate::cancelled;
    default:  // also if a signal ended it: what became of the VM is for gcctl status to say
        return Fate::needs_operator;
    }
}

std::size_t Outcome::count(Fate fate) const {
    return static_cast<std::size_t>(std::ranges::count(vms, fate, &VmOutcome::fate));
}

std::uint64_t Outcome::sent_bytes() const {
    return std::accumulate(
        vms.begin(), vms.end(), std::uint64_t{0},
        [](std::uint64_t sum, const VmOutcome& vm) { return sum + vm.sent_bytes; });
}

int exit_status(const Outcome& outcome) {
    const std::size_t moved = outcome.count(Fate::moved);
    if (outcome.count(Fate::needs_operator) > 0)
        return options::exit_needs_operator;
    if (moved == outcome.vms.size())
        return options::exit_done;
    if (outcome.interrupted)
        return options::exit_cancelled;
    const std::size_t refused = outcome.count(Fate::refused) + outcome.count(Fate::kept);
    return refused == outcome.vms.size() ? options::exit_refused : options::exit_failed;
}

nlohmann::ordered_json to_json(const Outcome& outcome) {
    using Json = nlohmann::ordered_json;
    Json counts = Json::object();
    for (std::size_t fate = 0; fate < fate_names.size(); ++fate)
        counts[std::string(fate_names[fate])] = outcome.count(static_cast<Fate>(fate));
    Json vms = Json::array();
    for (const VmOutcome& vm : outcome.vms)
        vms.push_back({{"domain", vm.name},
                       {"uuid", vm.uuid},
                       {"memory_bytes", vm.memory},
                       {"to", vm.to},
                       {"result", name(vm.fate)},
                       {"error", vm.error},
                       {"total_ms", vm.total_ms},
                       {"downtime_ms", vm.downtime_ms},
                       {"sent_bytes", vm.sent_bytes},
                       {"demand_faults", vm.demand_faults},
                       {"demand_stall_ms", vm.demand_stall_ms}});
    return {{"schema", Outcome::schema_name},       {"exit_status", exit_status(outcome)},
            {"interrupted", outcome.interrupted},   {"total_ms", outcome.total_ms},
            {"sent_bytes", outcome.sent_bytes()},   {"counts", std::move(counts)},
            {"moved_before", outcome.moved_before}, {"vms", std::move(vms)}};
}

std::string summary(const Outcome& outcome) {
    std::string text =
        fmt::format("{} of {} VMs moved in {:.1f} s, {:.1f} MiB sent\n", outcome.count(Fate::moved),
                    outcome.vms.size(), outcome.total_ms / 1000, in_mib(outcome.sent_bytes()));
    if (!outcome.vms.empty())
        text += fmt::format("  {:<20} {:<14} {:>9} {:>12} {:>12} {:>8}\n", "VM", "result", "time",
                            "downtime", "sent", "faults");
    for (const VmOutcome& vm : outcome.vms) {
        text += fmt::format("  {:<20} {:<14}", vm.name, name(vm.fate));
        if (vm.fate == Fate::moved)
            text += fmt::format(" {:>7.1f} s {:>9.1f} ms {:>8.1f} MiB {:>8}", vm.total_ms / 1000,
                                vm.downtime_ms, in_mib(vm.sent_bytes), vm.demand_faults);
        else if (!vm.error.empty())
            text += " " + vm.error;
        text += '\n';
    }
    return text;
}

}  // namespace gc::evacuate

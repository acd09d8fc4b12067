// SPDX-License-Identifier: GPL-2.0-or-later
#include "evacuate/voice.h"

#include "util/print.h"
#include "util/text.h"

#include <nlohmann/json.hpp>

namespace gc::evacuate {
namespace {

using nlohmann::json;

std::string line_of(const Facts& facts, const Move& move) {
    const Vm& vm = facts.vms[move.vm];
    const Host& host = facts.hosts[move.host];
    return fmt::format("  {:<20} {:>9.1f} MiB {:>4} vCPU{} priority {:<4} to {} ({})\n", vm.name,
                       static_cast<double>(vm.memory) / (1 << 20), vm.vcpus,
                       vm.vcpus == 1 ? " " : "s", vm.priority, host.ports.front().host, host.uri);
}

std::string seconds(double ms) {
    return fmt::format("{:.1f} s", ms / 1000);
}

}  // namespace

void Voice::event(std::string_view name, json fields) const {
    fields["event"] = name;
    print_best_effort(stdout, "{}\n", fields.dump(-1, ' ', false, json::error_handler_t::replace));
}

void Voice::text(std::string_view text) const {
    if (!json_ && !quiet_)
        print_best_effort(stdout, "{}", text);
}

void Voice::plan(const Found& found, const Plan& plan, Order order) const {
    const Facts& facts = found.facts;
    for (const std::string& warning : found.warnings)
        print_best_effort(stderr, "gcctl: warning: {}\n", warning);
    if (json_) {
        json moves = json::array();
        for (const Move& move : plan.moves) {
            const Vm& vm = facts.vms[move.vm];
            moves.push_back({{"domain", vm.name},
                             {"uuid", vm.uuid},
                             {"memory_bytes", vm.memory},
                             {"vcpus", vm.vcpus},
                             {"priority", vm.priority},
                             {"host", facts.hosts[move.host].ports.front().host},
                             {"destination_uri", facts.hosts[move.host].uri}});
        }
        json kept = json::array();
        for (const Kept& each : plan.kept)
            kept.push_back({{"domain", facts.vms[each.vm].name}, {"reason", each.reason}});
        return event("plan", {{"order", name(order)},
                              {"moves", std::move(moves)},
                              {"kept", std::move(kept)},
                              {"moved_before", found.moved_before}});
    }
    std::string lines =
        fmt::format("{} VMs to move, in this order ({}):\n", plan.moves.size(), name(order));
    for (const Move& move : plan.moves)
        lines += line_of(facts, move);
    for (const std::string& moved : found.moved_before)
        lines += fmt::format("  {:<20} has moved before\n", moved);
    text(lines);
    for (const Kept& kept : plan.kept)
        print_best_effort(stderr, "gcctl: {} cannot be moved: {}\n", facts.vms[kept.vm].name,
                          kept.reason);
}

void Voice::moving(const Vm& vm, const Endpoint& to, std::uint64_t bandwidth,
                   const Outcome& outcome) {
    ++begun_;
    const std::size_t all = outcome.vms.size() - outcome.count(Fate::kept);
    if (json_)
        return event("moving", {{"domain", vm.name},
                                {"uuid", vm.uuid},
                                {"to", to.str()},
                                {"bandwidth", bandwidth},
                                {"number", begun_},
                                {"of", all}});
    text(fmt::format("{} of {}: {} to {}\n", begun_, all, vm.name, to.str()));
}

void Voice::event_of(const Vm& vm, json found) const {
    if (!json_ && found.value("event", "") == "warning")
        return error_of(vm, "warning: " + found.value("message", ""));
    if (!json_)
        return;
    found["domain"] = vm.name;
    print_best_effort(stdout, "{}\n", found.dump(-1, ' ', false, json::error_handler_t::replace));
}

void Voice::error_of(const Vm& vm, std::string_view line) const {
    print_best_effort(stderr, "{}: {}\n", vm.name, printable(line, 2000));
}

void Voice::ended(const VmOutcome& outcome) const {
    if (json_)
        return event("ended", {{"domain", outcome.name},
                               {"result", name(outcome.fate)},
                               {"error", outcome.error},
                               {"total_ms", outcome.total_ms},
                               {"downtime_ms", outcome.downtime_ms},
                               {"sent_bytes", outcome.sent_bytes}});
    if (outcome.fate == Fate::moved)
        text(fmt::format("{} moved in {}, downtime {:.1f} ms\n", outcome.name,
                         seconds(outcome.total_ms), outcome.downtime_ms));
    else
        text(fmt::format("{}: {}\n", outcome.name, name(outcome.fate)));
}

void Voice::ending() const {
    print_best_effort(stderr,
                      "gcctl: interrupted: no other VM is begun. gcctl ends with those that are on "
                      "their way; interrupt it again to roll back those that were not handed "
                      "over\n");
}

void Voice::done(const Outcome& outcome) const {
    if (!json_)
        return text(summary(outcome));
    event("done", json(to_json(outcome)));
}

}  // namespace gc::evacuate

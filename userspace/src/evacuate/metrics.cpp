// SPDX-License-Identifier: GPL-2.0-or-later
#include "evacuate/metrics.h"

#include "metrics/families.h"
#include "metrics/migration.h"
#include "options/arguments.h"

#include <array>

namespace gc::evacuate {
namespace {

constexpr std::array fates{Fate::moved,          Fate::kept,      Fate::refused, Fate::failed,
                           Fate::needs_operator, Fate::cancelled, Fate::waiting};

constexpr std::array<std::pair<int, std::string_view>, 5> results{
    {{options::exit_done, "completed"},
     {options::exit_failed, "failed"},
     {options::exit_refused, "refused"},
     {options::exit_cancelled, "cancelled"},
     {options::exit_needs_operator, "needs-operator"}}};

}  // namespace

void show(metrics::Exposition& exposition, const Outcome& outcome, std::size_t moving,
          std::chrono::system_clock::time_point begin, std::chrono::system_clock::time_point end) {
    const auto set_vms = [&](std::string_view state, std::size_t count) {
        exposition.set(metrics::evacuation_vms, {{"state", state}}, static_cast<double>(count));
    };
    for (const Fate fate : fates)
        set_vms(name(fate), outcome.count(fate) - (fate == Fate::waiting ? moving : 0));
    set_vms("moving", moving);
    double remaining = 0;
    for (const VmOutcome& vm : outcome.vms)
        if (vm.fate != Fate::moved)
            remaining += static_cast<double>(vm.memory);
    exposition.set(metrics::evacuation_memory, {}, remaining);
    exposition.set(metrics::evacuation_begin, {}, metrics::timestamp(begin));
    exposition.set(metrics::evacuation_end, {}, metrics::timestamp(end));
    const bool ended = end != std::chrono::system_clock::time_point();
    for (const auto& [status, result] : results)
        exposition.add(metrics::evacuations, {{"result", result}},
                       ended && status == exit_status(outcome) ? 1 : 0);
}

}  // namespace gc::evacuate

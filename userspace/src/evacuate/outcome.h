// SPDX-License-Identifier: GPL-2.0-or-later
// What an evacuation leaves behind: how each VM fared, and all together.
#pragma once

#include "evacuate/plan.h"

#include <nlohmann/json_fwd.hpp>

namespace gc::evacuate {

enum class Fate : std::uint8_t {
    moved,
    kept,            ///< the plan has no place for it
    refused,         ///< by a check of its migration: nothing was touched
    failed,          ///< its migration failed, and it runs here
    needs_operator,  ///< it may be stopped
    cancelled,       ///< its migration was interrupted, and it runs here
    waiting,         ///< its turn did not come
};
[[nodiscard]] std::string_view name(Fate fate);
/// @param status of a `gcctl migrate`
[[nodiscard]] Fate fate_of(int status);

/// One VM.
struct VmOutcome {
    std::string name, uuid;
    std::uint64_t memory = 0;
    std::string to;  ///< HOST:PORT; empty: no migration of it began
    Fate fate = Fate::waiting;
    std::string error;
    double total_ms = 0;
    double downtime_ms = 0;
    std::uint64_t sent_bytes = 0;
    std::uint64_t demand_faults = 0;
    double demand_stall_ms = 0;
};

struct Outcome {
    static constexpr std::string_view schema_name = "guidecopy.evacuation/1";

    std::vector<VmOutcome> vms;  ///< those of the plan in its order, then the others
    std::vector<std::string> moved_before;
    bool interrupted = false;
    double total_ms = 0;

    [[nodiscard]] std::size_t count(Fate fate) const;
    [[nodiscard]] std::uint64_t sent_bytes() const;
};

/// 0: all VMs have moved. Else, of these the first that is true: 4, if one needs the operator; 130,
/// if it was interrupted; 3, if nothing has moved and each VM was refused; 1.
[[nodiscard]] int exit_status(const Outcome& outcome);

[[nodiscard]] nlohmann::ordered_json to_json(const Outcome& outcome);
/// A table for people, lines ended by '\n'.
[[nodiscard]] std::string summary(const Outcome& outcome);

}  // namespace gc::evacuate

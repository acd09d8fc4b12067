// SPDX-License-Identifier: GPL-2.0-or-later
// What `gcctl evacuate` prints.
#pragma once

#include "evacuate/facts.h"
#include "evacuate/outcome.h"

#include <nlohmann/json_fwd.hpp>

namespace gc::evacuate {

/// Best effort: its reader may have gone.
class Voice {
  public:
    Voice(bool json, bool quiet) : json_(json), quiet_(quiet) {}

    void plan(const Found& found, const Plan& plan, Order order) const;
    void moving(const Vm& vm, const Endpoint& to, std::uint64_t bandwidth, const Outcome& outcome);
    /// Of the VM's `gcctl migrate`.
    void event_of(const Vm& vm, nlohmann::json event) const;
    void error_of(const Vm& vm, std::string_view line) const;
    void ended(const VmOutcome& outcome) const;
    /// The user has interrupted it.
    void ending() const;
    void done(const Outcome& outcome) const;

  private:
    void event(std::string_view name, nlohmann::json fields) const;
    void text(std::string_view text) const;

    bool json_, quiet_;
    std::size_t begun_ = 0;
};

}  // namespace gc::evacuate

// SPDX-License-Identifier: GPL-2.0-or-later
// A trace's hot set over time, as a table for people or as JSON, one object a line.
#pragma once

#include "trace/trace.h"

#include <nlohmann/json_fwd.hpp>

namespace gc::trace {

class Show {
  public:
    Show(const Header& header, bool json);

    /// "128.0 MiB in 1 RAM block, by age"; JSON has what it is called and more.
    void begin(std::string_view event, nlohmann::json fields, std::string_view text) const;
    void epoch(const Epoch& epoch);
    /// Each touch of an epoch, in order.
    void touches(const Epoch& epoch) const;
    /// Pages touched in any epoch so far, and what was lost.
    void total(nlohmann::json fields, std::string_view text) const;

    [[nodiscard]] std::uint64_t touched() const { return touched_; }

  private:
    const Header& header_;
    bool json_;
    std::vector<bool> seen_;
    std::uint64_t touched_ = 0;
    std::uint64_t dropped_ = 0;
    std::uint64_t unresolved_ = 0;
};

}  // namespace gc::trace

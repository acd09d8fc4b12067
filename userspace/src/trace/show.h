// SPDX-License-Identifier: GPL-2.0-or-later
// Shows a trace's hot set over time, as a table or as JSON with one object per line.
#pragma once

#include "trace/page_intervals.h"
#include "trace/trace.h"

#include <nlohmann/json_fwd.hpp>

namespace gc::trace {

class Show {
  public:
    Show(const Header& header, bool json);

    /// Prints the heading, e.g. "TEXT: 128.0 MiB of guest memory in 1 RAM block, by age", or
    /// `fields` and more as JSON.
    void begin(std::string_view event, nlohmann::json fields, std::string_view text) const;
    void epoch(const Epoch& epoch);
    /// Prints each touch of an epoch, in order.
    void touches(const Epoch& epoch) const;
    /// Prints the number of pages touched in any epoch so far, and the lost accesses.
    void total(nlohmann::json fields, std::string_view text) const;

    [[nodiscard]] std::uint64_t touched() const { return touched_; }

  private:
    const Header& header_;
    bool json_;
    PageIntervals seen_;
    std::uint64_t touched_ = 0;
    std::uint64_t dropped_ = 0;
    std::uint64_t unresolved_ = 0;
};

}  // namespace gc::trace

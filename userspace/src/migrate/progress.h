// SPDX-License-Identifier: GPL-2.0-or-later
// What the user sees while a migration runs.
#pragma once

#include "ledger/class_counts.h"
#include "migrate/options.h"

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace gc::migrate {

struct ProgressCounts {
    std::string_view phase;  ///< "pre-copy", "switch-over", "post-copy", "finishing"
    ledger::ClassCounts pages;
    std::uint64_t bytes = 0;  ///< sent
};

/// Writes to standard output; not thread-safe.
class Progress {
  public:
    explicit Progress(Output output, bool verbose);
    ~Progress() { end_line(); }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// A milestone: JSON mode prints {"event": event, ...fields}, the others the text, if there is
    /// one.
    void event(std::string_view event, const nlohmann::json& fields, std::string_view text = {});
    /// The same without fields.
    void milestone(std::string_view event, std::string_view text = {});

    /// Something the user should know that does not stop the migration.
    void warning(std::string_view text);

    /// Detail that only --verbose and JSON show.
    void detail(std::string_view event, const nlohmann::json& fields, std::string_view text);

    /// At most some times a second on a terminal, less often elsewhere.
    void update(const ProgressCounts& counts);

    [[nodiscard]] bool shows_summary() const { return output_ == Output::automatic; }

  private:
    void end_line();

    Output output_;
    bool verbose_;
    bool terminal_;
    bool line_open_ = false;
    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point last_{};
};

}  // namespace gc::migrate

// SPDX-License-Identifier: GPL-2.0-or-later
// The output of a running migration.
#pragma once

#include "ledger/class_counts.h"
#include "migrate/options.h"
#include "preflight/compare.h"

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace gc::migrate {

/// What the guide was shown.
struct MirrorCounts {
    std::uint64_t packets = 0;
    std::uint64_t dropped = 0;
    std::uint64_t in_step = 0;
    std::uint64_t dead = 0;
};

struct ProgressCounts {
    std::string_view phase;  ///< "pre-copy", "switch-over", "post-copy", "finishing"
    ledger::ClassCounts pages;
    std::uint64_t bytes = 0;                                      ///< sent
    std::optional<std::chrono::steady_clock::duration> lost_for;  ///< without a connection
    std::optional<MirrorCounts> mirror;
};

/// Writes to standard output; not thread-safe.
class Progress {
  public:
    /// @param insecure every event says so
    Progress(Output output, bool verbose, bool insecure);
    ~Progress() { end_line(); }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// A milestone. JSON mode prints {"event": event, ...fields}; automatic mode prints the text
    /// unless it is empty.
    void event(std::string_view event, const nlohmann::json& fields, std::string_view text = {});
    /// A milestone without fields.
    void milestone(std::string_view event, std::string_view text = {});

    /// A problem that does not stop the migration.
    void warning(std::string_view text);

    /// Of the two ends, found by the checks.
    void difference(const preflight::Difference& difference);

    /// A detail, shown only with --verbose and in JSON mode.
    void detail(std::string_view event, const nlohmann::json& fields, std::string_view text);

    /// Rate-limited: ten times a second on a terminal, once a second elsewhere.
    void update(const ProgressCounts& counts);

    [[nodiscard]] bool shows_summary() const { return output_ == Output::automatic; }

  private:
    void end_line();

    Output output_;
    bool verbose_;
    bool insecure_;
    bool terminal_;
    bool line_open_ = false;
    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point last_{};
};

}  // namespace gc::migrate

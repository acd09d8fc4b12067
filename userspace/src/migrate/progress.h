// SPDX-License-Identifier: GPL-2.0-or-later
// The output of a running migration.
#pragma once

#include "ledger/class_counts.h"
#include "migrate/options.h"
#include "preflight/compare.h"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace gc::migrate {

/// What the guide was shown.
struct MirrorCounts {
    std::uint64_t packets = 0;
    std::uint64_t dropped = 0;
    std::uint64_t in_step = 0;
    std::uint64_t dead = 0;
};

/// A field of an event.
struct Field {
    using Value = std::variant<bool, std::int64_t, std::uint64_t, double, std::string_view>;

    Field(std::string_view field_name, bool field_value) : name(field_name), value(field_value) {}
    template <std::signed_integral T>
    Field(std::string_view field_name, T field_value)
        : name(field_name), value(std::int64_t{field_value}) {}
    template <std::unsigned_integral T>
    Field(std::string_view field_name, T field_value)
        : name(field_name), value(std::uint64_t{field_value}) {}
    Field(std::string_view field_name, double field_value) : name(field_name), value(field_value) {}
    // A template, since a literal would rather be a bool.
    template <std::convertible_to<std::string_view> T>
    Field(std::string_view field_name, const T& field_value)
        : name(field_name), value(std::string_view(field_value)) {}

    std::string_view name;
    Value value;  ///< borrowed, if it is text
};
using Fields = std::initializer_list<Field>;

struct ProgressCounts {
    std::string_view phase;  ///< "pre-copy", "switch-over", "post-copy", "finishing"
    ledger::ClassCounts pages;
    std::uint64_t bytes = 0;                                      ///< sent
    std::uint64_t saved = 0;                                      ///< bytes, by compression
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
    void event(std::string_view event, Fields fields, std::string_view text = {});
    /// A milestone without fields.
    void milestone(std::string_view event, std::string_view text = {});

    /// A problem that does not stop the migration.
    void warning(std::string_view text);

    /// Of the two ends, found by the checks.
    void difference(const preflight::Difference& difference);

    /// A detail, shown only with --verbose and in JSON mode.
    void detail(std::string_view event, Fields fields, std::string_view text);

    /// Rate-limited: ten times a second on a terminal, once a second elsewhere.
    void update(const ProgressCounts& counts);

    [[nodiscard]] bool shows_summary() const { return output_ == Output::automatic; }

  private:
    void end_line();
    void print_json(std::string_view event, nlohmann::json fields);

    Output output_;
    bool verbose_;
    bool insecure_;
    bool terminal_;
    bool line_open_ = false;
    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point last_{};
};

}  // namespace gc::migrate

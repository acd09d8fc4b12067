// SPDX-License-Identifier: GPL-2.0-or-later
// Metrics in Prometheus' text format (version 0.0.4), without I/O.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gc::metrics {

/// The names that the format has for them are these.
enum class Type : std::uint8_t { counter, gauge, histogram, summary, untyped };
[[nodiscard]] std::string_view name(Type type);

/// What is known of a metric beside its values.
struct Family {
    std::string_view name;
    Type type;
    std::string_view help;  ///< one line
};

using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

class Exposition {
  public:
    /// Reads what text() or another program has written. Comments and timestamps are dropped.
    /// Errors: protocol, "line N: ...".
    static Result<Exposition> parse(std::string_view text);
    [[nodiscard]] std::string text() const;

    void set(const Family& family, const Labels& labels, double value);
    /// Adds to what is there.
    void add(const Family& family, const Labels& labels, double value);
    /// Of a histogram: one value. @param bounds the upper ones of its buckets, without infinity
    void observe(const Family& family, const Labels& labels, std::span<const double> bounds,
                 double value);
    /// Of a histogram: many values. @param counts of each bucket, one more than there are bounds
    void observe(const Family& family, const Labels& labels, std::span<const double> bounds,
                 std::span<const std::uint64_t> counts, double sum);
    /// Removes the samples that have this label.
    void remove(const Family& family, std::string_view label, std::string_view value);
    /// 0 if there is no such sample.
    [[nodiscard]] double value(const Family& family, const Labels& labels) const;

  private:
    struct Sample {
        std::string key;  ///< name and labels, as they are written
        double value = 0;
    };
    struct Kept {
        std::string name, help;
        Type type = Type::untyped;
        std::vector<Sample> samples;
    };

    Kept& kept(const Family& family);
    Kept& kept_of_sample(std::string_view sample_name);
    static double& sample(Kept& family, const std::string& key);
    Result<void> parse_line(std::string_view line);
    Result<void> parse_comment(std::string_view line);

    std::vector<Kept> families_;
};

}  // namespace gc::metrics

// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/render.h"

#include "policy/policy_text.h"

#include <map>
#include <nlohmann/json.hpp>

namespace gc::policy {
namespace {

constexpr double ns_per_us = 1000;

std::string rate_text(double bytes) {
    const double bits = bytes * 8;
    if (bits >= 1e9)
        return fmt::format("{:.2f}Gbit", bits / 1e9);
    if (bits >= 1e6)
        return fmt::format("{:.2f}Mbit", bits / 1e6);
    return fmt::format("{:.1f}kbit", bits / 1e3);
}

double mean_delay_us(const gc_class_stats& stats) {
    return stats.delayed == 0 ? 0
                              : static_cast<double>(stats.delay_ns) /
                                    static_cast<double>(stats.delayed) / ns_per_us;
}

bool is_paced(const gc_policy_config& config, unsigned index) {
    return index < GC_CLASSES && config.classes[index].weight != 0;
}

using Values = std::map<std::string, std::string>;

Values value_map(const Policy& policy) {
    const auto values = values_of(policy);
    return {values.begin(), values.end()};
}

/// The policy's values that apply to all classes, in the form of `gcctl policy set`.
std::string common_text(const Policy& policy) {
    std::string text = " ";
    for (const auto& [key, value] : values_of(policy))
        if (!key.starts_with("class."))
            text += fmt::format(" {}={}", key, value);
    return text + "\n";
}

std::string row_text(const Reading& reading, unsigned index, const Values& values) {
    const gc_class_stats& stats = reading.now.counters[index];
    const bool paced = is_paced(reading.now.config, index);
    const auto rate = reading.rate(index);
    const auto allowance = reading.allowance(index);
    const auto value = [&](const char* key, bool known) {
        return known ? values.at(fmt::format("class.{}.{}", row_name(index), key)) : "-";
    };
    return fmt::format(
        "  {:<11}{:>11}{:>11}{:>8}{:>9}{:>9}{:>6}{:>15}{:>12}{:>8}{:>10}{:>10.0f}us{:>9.0f}us\n",
        row_name(index), rate ? rate_text(*rate) : "-",
        allowance            ? rate_text(*allowance)
        : index < GC_CLASSES ? (paced ? "-" : "unpaced")
                             : "",
        value("weight", paced), value("floor", paced), value("cap", paced),
        value("dscp", index < GC_CLASSES), stats.bytes, stats.packets, stats.drops, stats.delayed,
        mean_delay_us(stats), static_cast<double>(stats.delay_max_ns) / ns_per_us);
}

nlohmann::json or_null(const std::optional<double>& value) {
    return value ? nlohmann::json(*value) : nlohmann::json();
}

}  // namespace

std::optional<double> Reading::rate(unsigned index) const {
    if (!before || interval.count() <= 0)
        return std::nullopt;
    return static_cast<double>(now.counters[index].bytes - (*before)[index].bytes) /
           interval.count();
}

std::optional<double> Reading::allowance(unsigned index) const {
    // For unpaced classes, the program reports the rate at which they send.
    if (!is_paced(now.config, index) || !now.rates || (*now.rates)[index] == 0)
        return std::nullopt;
    return static_cast<double>((*now.rates)[index]);
}

std::string row_name(unsigned index) {
    return index == GC_TENANTS ? "tenants" : std::string(class_name(index));
}

std::string render_text(const Reading& reading) {
    const Status& now = reading.now;
    std::string text = fmt::format(
        "{}: policy '{}' ({}), program {}, by {}{}, link {}, target {}\n", now.device,
        now.policy.name, now.lasting ? "stays" : "removed with its last migration", now.object,
        now.hook,
        now.missing.empty() ? ""
                            : fmt::format(" (missing: {}; detach and attach again)", now.missing),
        rate_text(static_cast<double>(now.link_bytes_per_s)),
        rate_text(static_cast<double>(now.config.target)));
    text += common_text(now.policy);
    if (!now.before.empty())
        text += fmt::format("  after other filters: {}\n", now.before);
    text +=
        fmt::format("  {:<11}{:>11}{:>11}{:>8}{:>9}{:>9}{:>6}{:>15}{:>12}{:>8}{:>10}{:>12}{:>11}\n",
                    "", "rate", "may send", "weight", "floor", "cap", "dscp", "bytes", "packets",
                    "drops", "delayed", "mean delay", "max delay");
    const Values values = value_map(now.policy);
    for (unsigned index = 0; index < GC_COUNTERS; ++index)
        text += row_text(reading, index, values);
    return text;
}

nlohmann::json render_json(const Reading& reading) {
    const Status& now = reading.now;
    nlohmann::json classes = nlohmann::json::object();
    for (unsigned index = 0; index < GC_COUNTERS; ++index) {
        const gc_class_stats& stats = now.counters[index];
        classes[row_name(index)] = {
            {"bytes_per_second", or_null(reading.rate(index))},
            {"allowance", or_null(reading.allowance(index))},
            {"bytes", stats.bytes},
            {"packets", stats.packets},
            {"drops", stats.drops},
            {"delayed", stats.delayed},
            {"delay_mean_us", mean_delay_us(stats)},
            {"delay_max_us", static_cast<double>(stats.delay_max_ns) / ns_per_us}};
    }
    return {{"device", now.device},
            {"policy", now.policy.name},
            {"object", now.object},
            {"hook", now.hook},
            {"in_place", now.missing.empty()},
            {"lasting", now.lasting},
            {"missing", now.missing},
            {"before", now.before},
            {"link", now.link_bytes_per_s},
            {"target", now.config.target},
            {"mark", now.config.mark},
            {"values", value_map(now.policy)},
            {"classes", classes}};
}

}  // namespace gc::policy

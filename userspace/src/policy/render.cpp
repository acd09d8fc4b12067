// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/render.h"

namespace gc::policy {
namespace {

constexpr double bits_per_byte = 8;
constexpr double ns_per_us = 1000;

std::string rate_text(double bytes) {
    const double bits = bytes * bits_per_byte;
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

}  // namespace

std::optional<double> Reading::rate(unsigned index) const {
    if (before && between.count() > 0)
        return static_cast<double>(now.counters[index].bytes - (*before)[index].bytes) /
               between.count();
    if (now.rates)
        return static_cast<double>((*now.rates)[index]);
    return std::nullopt;
}

std::string row_name(unsigned index) {
    return index == GC_TENANTS ? "tenants" : std::string(shape::class_name(index));
}

std::string render_text(const Reading& reading) {
    const shape::Status& now = reading.now;
    std::string text = fmt::format(
        "{}: policy '{}' ({}), program {}, by {}{}, link {}, target {}\n", now.device,
        now.policy.name, now.lasting ? "stays" : "goes with its last migration", now.object,
        now.hook,
        now.missing.empty()
            ? ""
            : fmt::format(" (somebody took {} away: detach and attach again)", now.missing),
        rate_text(static_cast<double>(now.link)),
        rate_text(static_cast<double>(now.config.target)));
    text += fmt::format("  {:<11}{:>12}{:>16}{:>13}{:>9}{:>12}{:>14}{:>14}\n", "", "rate", "bytes",
                        "packets", "drops", "delayed", "mean delay", "max delay");
    for (unsigned index = 0; index < GC_COUNTERS; ++index) {
        const gc_class_stats& stats = now.counters[index];
        const auto rate = reading.rate(index);
        text += fmt::format("  {:<11}{:>12}{:>16}{:>13}{:>9}{:>12}{:>12.0f}us{:>12.0f}us\n",
                            row_name(index), rate ? rate_text(*rate) : "-", stats.bytes,
                            stats.packets, stats.drops, stats.delayed, mean_delay_us(stats),
                            static_cast<double>(stats.delay_max_ns) / ns_per_us);
    }
    return text;
}

nlohmann::json render_json(const Reading& reading) {
    const shape::Status& now = reading.now;
    nlohmann::json classes = nlohmann::json::object();
    for (unsigned index = 0; index < GC_COUNTERS; ++index) {
        const gc_class_stats& stats = now.counters[index];
        const auto rate = reading.rate(index);
        classes[row_name(index)] = {
            {"bytes_per_second", rate ? nlohmann::json(*rate) : nlohmann::json()},
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
            {"link", now.link},
            {"target", now.config.target},
            {"mark", now.config.mark},
            {"missing", now.missing},
            {"classes", classes}};
}

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/policy_text.h"

#include "policy/policy_key.h"

namespace gc::policy {
namespace {

constexpr std::uint64_t bits_per_byte = 8;

/// The value in the largest unit that leaves no fraction, or nullopt.
template <std::size_t N>
std::optional<std::string>
in_units(std::uint64_t value,
         const std::array<std::pair<std::uint64_t, std::string_view>, N>& units) {
    for (const auto& [unit, name] : units)
        if (value % unit == 0)
            return fmt::format("{}{}", value / unit, name);
    return std::nullopt;
}

std::string text_of(std::chrono::nanoseconds time) {
    constexpr std::array<std::pair<std::uint64_t, std::string_view>, 3> units{
        {{1'000'000'000, "s"}, {1'000'000, "ms"}, {1000, "us"}}};
    return in_units(static_cast<std::uint64_t>(time.count()), units)
        .value_or(fmt::format("{}us", static_cast<double>(time.count()) / 1000));
}

std::string percent(double share) {
    return fmt::format("{:g}%", share * 100);
}

std::string text_of(const Rate& rate) {
    constexpr std::array<std::pair<std::uint64_t, std::string_view>, 3> units{
        {{1'000'000'000 / bits_per_byte, "gbit"},
         {1'000'000 / bits_per_byte, "mbit"},
         {1000 / bits_per_byte, "kbit"}}};
    return rate.of_link ? percent(rate.share)
                        : in_units(rate.bytes, units).value_or(std::to_string(rate.bytes));
}

std::string text_of(bool flag) {
    return flag ? "true" : "false";
}

}  // namespace

std::vector<std::pair<std::string, std::string>> values_of(const Policy& policy) {
    std::vector<std::pair<std::string, std::string>> values{
        {"use", text_of(policy.use)},
        {"mark", fmt::format("{:#x}", policy.mark)},
        {"horizon", text_of(policy.horizon)},
        {"tenants.yield", text_of(policy.yield)},
        {"tenants.window", text_of(policy.window)},
        {"tenants.decay", text_of(policy.decay)},
        {"tenants.headroom", percent(policy.headroom)}};
    for (unsigned index = 0; index < GC_CLASSES; ++index) {
        const ClassPolicy& of = policy.classes[index];
        const std::string prefix = fmt::format("class.{}.", class_name(index));
        values.emplace_back(prefix + "paced", text_of(of.paced));
        values.emplace_back(prefix + "weight", std::to_string(of.weight));
        values.emplace_back(prefix + "floor", text_of(of.floor));
        values.emplace_back(prefix + "cap", text_of(of.cap));
        values.emplace_back(prefix + "dscp", dscp_text(of.dscp));
    }
    return values;
}

}  // namespace gc::policy

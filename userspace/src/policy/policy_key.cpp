// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/policy_key.h"
#include <fmt/format.h>

#include "util/units.h"

#include <algorithm>
#include <charconv>

namespace gc::policy {
namespace {

using Text = std::string_view;

/// The limits of values.
constexpr std::chrono::nanoseconds max_window = std::chrono::seconds(1);
constexpr std::chrono::nanoseconds min_window = std::chrono::microseconds(100);
constexpr std::chrono::nanoseconds max_decay = std::chrono::seconds(10);
/// The limit of fq (FQ_HORIZON in net/sched/sch_fq.c, 6.1).
constexpr std::chrono::nanoseconds max_horizon = std::chrono::seconds(10);
constexpr double max_headroom = 10;

/// Named code points: RFC 2474, 2597, 3246, 5865, 8622.
constexpr std::array<std::pair<Text, std::uint8_t>, 23> code_points{
    {{"CS0", 0},   {"CS1", 8},   {"CS2", 16},  {"CS3", 24},  {"CS4", 32},  {"CS5", 40},
     {"CS6", 48},  {"CS7", 56},  {"AF11", 10}, {"AF12", 12}, {"AF13", 14}, {"AF21", 18},
     {"AF22", 20}, {"AF23", 22}, {"AF31", 26}, {"AF32", 28}, {"AF33", 30}, {"AF41", 34},
     {"AF42", 36}, {"AF43", 38}, {"EF", 46},   {"VA", 44},   {"LE", 1}}};

Result<std::uint32_t> parse_number(Text text, std::uint32_t min, std::uint32_t max) {
    const bool hex = text.starts_with("0x");
    const Text digits = hex ? text.substr(2) : text;
    std::uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
    if (error != std::errc{} || end != digits.data() + digits.size() || digits.empty() ||
        value < min || value > max)
        return fail(ErrorKind::usage, "invalid number '{}' (expected {} to {})", text, min, max);
    return value;
}

Result<bool> parse_switch(Text text) {
    if (text != "true" && text != "false")
        return fail(ErrorKind::usage, "invalid value '{}' (expected true or false)", text);
    return text == "true";
}

Result<Rate> parse_share_or_rate(Text text) {
    if (text.ends_with('%')) {
        GC_TRY(const double share, parse_percent(text));
        if (share > 1)
            return fail(ErrorKind::usage, "invalid share '{}' (expected at most 100%)", text);
        return Rate{.of_link = true, .bytes = 0, .share = share};
    }
    GC_TRY(const std::uint64_t bytes, parse_rate(text));
    return Rate{.of_link = false, .bytes = bytes, .share = 0};
}

Result<std::optional<std::uint8_t>> parse_dscp(Text text) {
    if (text == "keep")
        return std::nullopt;
    const auto* named =
        std::ranges::find(code_points, text, &decltype(code_points)::value_type::first);
    if (named != code_points.end())
        return named->second;
    const auto number = parse_number(text, 0, 63);
    if (!number)
        return fail(ErrorKind::usage,
                    "invalid DSCP '{}' (expected keep, 0 to 63, or a name, e.g. AF41, CS1, EF, LE)",
                    text);
    return static_cast<std::uint8_t>(*number);
}

Result<std::chrono::nanoseconds> parse_within(Text text, std::chrono::nanoseconds min,
                                              std::chrono::nanoseconds max) {
    GC_TRY(const std::chrono::nanoseconds value, parse_short_duration(text));
    if (value < min || value > max)
        return fail(ErrorKind::usage, "invalid duration '{}' (expected {} us to {} us)", text,
                    min.count() / 1000, max.count() / 1000);
    return value;
}

template <typename Owner> struct Key {
    Text name;
    Result<void> (*set)(Owner&, Text);
};

/// Assigns a parsed value to a member.
template <auto member, typename Owner, typename Value>
Result<void> assign(Owner& owner, Result<Value> value) {
    if (!value)
        return Unexpected(std::move(value).error());
    owner.*member = *value;
    return {};
}

constexpr std::array<Key<Policy>, 4> policy_keys{{
    {"link", [](Policy& policy,
                Text text) { return assign<&Policy::link_bytes_per_s>(policy, parse_rate(text)); }},
    {"use", [](Policy& policy,
               Text text) { return assign<&Policy::use>(policy, parse_share_or_rate(text)); }},
    {"mark",
     [](Policy& policy, Text text) {
         // 0 is the mark of unmarked packets, and each class needs a mark.
         return assign<&Policy::mark>(policy, parse_number(text, 1, UINT32_MAX - GC_CLASSES + 1));
     }},
    {"horizon",
     [](Policy& policy, Text text) {
         return assign<&Policy::horizon>(policy, parse_within(text, min_window, max_horizon));
     }},
}};

constexpr std::array<Key<Policy>, 4> tenant_keys{{
    {"yield",
     [](Policy& policy, Text text) { return assign<&Policy::yield>(policy, parse_switch(text)); }},
    {"window",
     [](Policy& policy, Text text) {
         return assign<&Policy::window>(policy, parse_within(text, min_window, max_window));
     }},
    {"decay",
     [](Policy& policy, Text text) {
         return assign<&Policy::decay>(policy, parse_within(text, min_window, max_decay));
     }},
    {"headroom",
     [](Policy& policy, Text text) -> Result<void> {
         GC_TRY(const double share, parse_percent(text));
         if (share > max_headroom)
             return fail(ErrorKind::usage, "invalid headroom '{}' (expected at most {:.0f}%)", text,
                         100 * max_headroom);
         policy.headroom = share;
         return {};
     }},
}};

constexpr std::array<Key<ClassPolicy>, 5> class_keys{{
    {"paced", [](ClassPolicy& of,
                 Text text) { return assign<&ClassPolicy::paced>(of, parse_switch(text)); }},
    {"weight",
     [](ClassPolicy& of, Text text) {
         return assign<&ClassPolicy::weight>(of, parse_number(text, 1, GC_WEIGHT_MAX));
     }},
    {"floor", [](ClassPolicy& of,
                 Text text) { return assign<&ClassPolicy::floor>(of, parse_share_or_rate(text)); }},
    {"cap", [](ClassPolicy& of,
               Text text) { return assign<&ClassPolicy::cap>(of, parse_share_or_rate(text)); }},
    {"dscp",
     [](ClassPolicy& of, Text text) { return assign<&ClassPolicy::dscp>(of, parse_dscp(text)); }},
}};

template <typename Owner, std::size_t N>
Result<void> set_in(const std::array<Key<Owner>, N>& keys, Owner& owner, Text where, Text name,
                    Text text) {
    const auto* key = std::ranges::find(keys, name, &Key<Owner>::name);
    if (key != keys.end()) {
        if (auto set = key->set(owner, text); !set)
            return wrap(set.error(), fmt::format("{}{}", where, name));
        return {};
    }
    std::array<Text, N> names;
    std::ranges::transform(keys, names.begin(), &Key<Owner>::name);
    return fail(ErrorKind::usage, "unknown key {}{} (expected one of: {}{})", where, name, where,
                fmt::join(names, fmt::format(", {}", where)));
}

Result<void> set_of_class(Policy& policy, Text name, Text text) {
    const std::size_t dot = name.find('.');
    const Text which = name.substr(0, dot);
    for (unsigned index = 0; index < GC_CLASSES; ++index)
        if (which == class_name(index))
            return set_in(class_keys, policy.classes[index], fmt::format("class.{}.", which),
                          dot == Text::npos ? Text{} : name.substr(dot + 1), text);
    return fail(ErrorKind::usage, "unknown class '{}' (expected urgent, guide, warm or background)",
                which);
}

}  // namespace

std::string dscp_text(std::optional<std::uint8_t> dscp) {
    if (!dscp)
        return "keep";
    const auto* named =
        std::ranges::find(code_points, *dscp, &decltype(code_points)::value_type::second);
    return named != code_points.end() ? std::string(named->first) : std::to_string(*dscp);
}

Result<void> set_key(Policy& policy, Text key, Text text) {
    constexpr Text tenants = "tenants.";
    constexpr Text classes = "class.";
    if (key.starts_with(tenants))
        return set_in(tenant_keys, policy, tenants, key.substr(tenants.size()), text);
    if (key.starts_with(classes))
        return set_of_class(policy, key.substr(classes.size()), text);
    return set_in(policy_keys, policy, "", key, text);
}

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/policy_file.h"

#include "policy/policy_key.h"

#include <algorithm>
#include <sstream>
#include <toml++/toml.h>

namespace gc::policy {
namespace {

std::string at(const std::string& name, const toml::source_region& source) {
    return fmt::format("{}:{}", name, source.begin.line);
}

/// The value in the form that the command line takes.
Result<std::string> text_of(const toml::node& node) {
    if (const auto* text = node.as_string())
        return text->get();
    if (const auto* number = node.as_integer())
        return std::to_string(number->get());
    if (const auto* flag = node.as_boolean())
        return std::string(flag->get() ? "true" : "false");
    std::ostringstream kind;
    kind << node.type();
    return fail(ErrorKind::usage,
                "expected a string, an integer, true or false, found a value of type {}",
                kind.str());
}

bool is_section(std::string_view path) {
    if (path == "tenants" || path == "class")
        return true;
    for (unsigned index = 0; index < GC_CLASSES; ++index)
        if (path == fmt::format("class.{}", class_name(index)))
            return true;
    return false;
}

/// Sets the value of an entry that is not a section.
Result<void> set_value(Policy& policy, const toml::node& node, const std::string& prefix,
                       const std::string& key) {
    // toml++ distinguishes this from the same key without quotes, so both could be given.
    if (key.find('.') != std::string::npos)
        return fail(ErrorKind::usage, "{}\"{}\": expected a key without dots in quotes", prefix,
                    key);
    // An unknown class or an unknown top-level section may be empty.
    if (node.is_table() && prefix == "class.")
        return set_key(policy, prefix + key, "");
    if (node.is_table() && prefix.empty())
        return fail(ErrorKind::usage,
                    "unknown section [{}] (expected [tenants], [class.urgent], [class.guide], "
                    "[class.warm] or [class.background])",
                    key);
    auto text = text_of(node);
    if (!text)
        return wrap(text.error(), prefix + key);
    return set_key(policy, prefix + key, *text);
}

/// Sets the values of a table in the order of the file, so that the first error is reported.
Result<void> set_table(Policy& policy, const toml::table& table, const std::string& prefix,
                       const std::string& name) {
    std::vector<std::pair<std::string, const toml::node*>> entries;
    for (const auto& [key, node] : table)
        entries.emplace_back(key.str(), &node);
    std::ranges::sort(entries, {}, [](const auto& entry) {
        const auto& begin = entry.second->source().begin;
        return std::pair(begin.line, begin.column);
    });
    for (const auto& [key, node] : entries) {
        const std::string path = prefix + key;
        const toml::table* section = node->as_table();
        if (section == nullptr || !is_section(path)) {
            if (auto set = set_value(policy, *node, prefix, key); !set)
                return wrap(set.error(), at(name, node->source()));
            continue;
        }
        GC_CHECK(set_table(policy, *section, path + ".", name));
        if (auto checked = policy.check(); !checked)
            return wrap(checked.error(), at(name, node->source()));
    }
    return {};
}

}  // namespace

Result<Policy> parse_policy(std::string_view text, const std::string& name) {
    Policy policy;
    policy.name = name;
    try {
        const toml::table table = toml::parse(text, name);
        GC_CHECK(set_table(policy, table, "", name));
    } catch (const toml::parse_error& error) {
        return fail(ErrorKind::usage, "{}: {}", at(name, error.source()), error.description());
    }
    return policy;
}

}  // namespace gc::policy

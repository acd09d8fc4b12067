// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/option_list.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gc::guide {

using nlohmann::json;

namespace {

bool below(std::string_view key, std::string_view tree) {
    return key == tree || (key.starts_with(tree) && key[tree.size()] == '.');
}

/// Removes "...," from the front of the text; ",," stands for one comma.
std::string take_part(std::string_view& text) {
    std::string part;
    while (!text.empty()) {
        const char c = text.front();
        text.remove_prefix(1);
        if (c == ',') {
            if (!text.starts_with(','))
                break;
            text.remove_prefix(1);
        }
        part.push_back(c);
    }
    return part;
}

std::string scalar_text(const json& value) {
    if (value.is_boolean())
        return value.get<bool>() ? "on" : "off";
    return value.is_string() ? value.get<std::string>() : value.dump();
}

void flatten(const json& value, const std::string& prefix, OptionList& into) {
    if (!value.is_structured()) {
        into.set(prefix, scalar_text(value));
        return;
    }
    const std::string dot = prefix.empty() ? "" : prefix + ".";
    std::size_t index = 0;
    for (const auto& item : value.items())
        flatten(item.value(), dot + (value.is_array() ? std::to_string(index++) : item.key()),
                into);
}

/// Deeper than any option of QEMU's. Values are walked recursively.
constexpr std::size_t max_depth = 100;

bool too_deep(std::string_view text, std::string_view opening, std::string_view closing) {
    std::size_t depth = 0;
    for (const char c : text) {
        if (opening.find(c) != std::string_view::npos && ++depth > max_depth)
            return true;
        if (closing.find(c) != std::string_view::npos && depth > 0)
            --depth;
    }
    return false;
}

/// nlohmann's dump() throws on anything else.
bool is_utf8(std::string_view text) {
    const json value(text);
    return value.dump(-1, ' ', false, json::error_handler_t::ignore) ==
           value.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<json> parse_json(std::string_view text) {
    // Braces in strings count, too: no option has a hundred of them.
    if (too_deep(text, "[{", "]}"))
        return fail(ErrorKind::usage, "expected at most {} levels of JSON in '{:.80}'", max_depth,
                    text);
    json value = json::parse(text, nullptr, false);
    if (!value.is_object())
        return fail(ErrorKind::usage, "expected a JSON object, got '{:.80}'", text);
    return value;
}

}  // namespace

Result<OptionList> OptionList::parse(std::string_view text, std::string_view implied_key) {
    OptionList list;
    if (text.starts_with('{')) {
        GC_TRY(const json value, parse_json(text));
        flatten(value, "", list);
        return list;
    }
    bool first = true;
    while (!text.empty()) {
        const std::string part = take_part(text);
        const auto equals = part.find('=');
        if (equals != std::string::npos)
            list.entries_.emplace_back(part.substr(0, equals), part.substr(equals + 1));
        else if (first && !implied_key.empty())
            list.entries_.emplace_back(implied_key, part);
        else
            list.entries_.emplace_back(part, "on");
        first = false;
    }
    return list;
}

std::string OptionList::get(std::string_view key) const {
    const auto found = std::find_if(entries_.rbegin(), entries_.rend(),
                                    [&](const Entry& entry) { return entry.first == key; });
    return found != entries_.rend() ? found->second : std::string();
}

bool OptionList::has(std::string_view key) const {
    return std::any_of(entries_.begin(), entries_.end(),
                       [&](const Entry& entry) { return entry.first == key; });
}

bool OptionList::is_on(std::string_view key) const {
    const std::string value = get(key);
    return value == "on" || value == "yes" || value == "true" || value == "y";
}

void OptionList::set(std::string_view key, std::string_view value) {
    const auto found = std::find_if(entries_.rbegin(), entries_.rend(),
                                    [&](const Entry& entry) { return entry.first == key; });
    if (found != entries_.rend())
        found->second = value;
    else
        entries_.emplace_back(key, value);
}

void OptionList::remove(std::string_view key) {
    std::erase_if(entries_, [&](const Entry& entry) { return entry.first == key; });
}

void OptionList::remove_tree(std::string_view key) {
    std::erase_if(entries_, [&](const Entry& entry) { return below(entry.first, key); });
}

std::string OptionList::print(std::string_view implied_key) const {
    std::string text;
    for (const auto& [key, value] : entries_) {
        const bool bare = &key == &entries_.front().first && key == implied_key;
        text += (text.empty() ? "" : ",") + (bare ? "" : key + "=") + escape_commas(value);
    }
    return text;
}

std::string escape_commas(std::string_view value) {
    std::string text;
    for (const char c : value)
        text.append(c == ',' ? 2 : 1, c);
    return text;
}

Result<json> parse_nested(std::string_view text, std::string_view implied_key) {
    if (text.starts_with('{'))
        return parse_json(text);
    if (!is_utf8(text))
        return fail(ErrorKind::unsupported, "expected UTF-8 in an option of a disk");
    GC_TRY(const OptionList list, OptionList::parse(text, implied_key));
    json root = json::object();
    for (const auto& [key, value] : list.entries()) {
        if (too_deep(key, ".", ""))
            return fail(ErrorKind::usage, "expected at most {} dots in '{:.80}'", max_depth, key);
        json* node = &root;
        std::string_view rest = key;
        for (auto dot = rest.find('.'); dot != std::string_view::npos; dot = rest.find('.')) {
            node = &(*node)[std::string(rest.substr(0, dot))];
            rest.remove_prefix(dot + 1);
            if (!node->is_null() && !node->is_object())
                return fail(ErrorKind::usage, "'{}' is both a value and a group in '{:.80}'", key,
                            text);
        }
        (*node)[std::string(rest)] = value;
    }
    return root;
}

}  // namespace gc::guide

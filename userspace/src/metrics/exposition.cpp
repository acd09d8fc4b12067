// SPDX-License-Identifier: GPL-2.0-or-later
#include "metrics/exposition.h"

#include "util/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace gc::metrics {
namespace {

constexpr std::array<std::string_view, 5> type_names{"counter", "gauge", "histogram", "summary",
                                                     "untyped"};
constexpr std::array<std::string_view, 3> histogram_suffixes{"_bucket", "_sum", "_count"};

std::string number(double value) {
    if (std::isnan(value))
        return "NaN";
    if (std::isinf(value))
        return value > 0 ? "+Inf" : "-Inf";
    constexpr double exact = 9007199254740992;  // 2^53
    if (value == std::floor(value) && std::abs(value) < exact)
        return std::to_string(static_cast<std::int64_t>(value));
    return fmt::format("{}", value);  // the shortest that reads back as the same
}

Result<double> parse_value(std::string_view text) {
    if (text == "NaN")
        return std::numeric_limits<double>::quiet_NaN();
    if (text == "+Inf" || text == "-Inf")
        return text.front() == '+' ? std::numeric_limits<double>::infinity()
                                   : -std::numeric_limits<double>::infinity();
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
        return fail(ErrorKind::protocol, "expected a number, found '{}'", printable(text));
    return value;
}

std::string escaped(std::string_view text, bool quotes) {
    std::string result;
    for (const char c : text) {
        if (c == '\\' || (quotes && c == '"'))
            result += '\\';
        if (c == '\n')
            result += "\\n";
        else
            result += c;
    }
    return result;
}

std::string unescaped(std::string_view text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\' || i + 1 == text.size()) {
            result += text[i];
            continue;
        }
        ++i;
        result += text[i] == 'n' ? '\n' : text[i];
    }
    return result;
}

std::string label(std::string_view name, std::string_view value) {
    return fmt::format("{}=\"{}\"", name, escaped(value, true));
}

std::string key_of(std::string_view name, const Labels& labels) {
    std::string key(name);
    for (std::size_t i = 0; i < labels.size(); ++i)
        key += (i == 0 ? "{" : ",") + label(labels[i].first, labels[i].second);
    return labels.empty() ? key : key + "}";
}

bool is_name(std::string_view text) {
    const auto is_letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
    };
    return !text.empty() && is_letter(text.front()) && std::ranges::all_of(text, [&](char c) {
        return is_letter(c) || (c >= '0' && c <= '9');
    });
}

/// The first word; the rest begins behind one blank.
std::string_view take_word(std::string_view& text) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return word;
}

/// The length of "{...}" at the front, in which a quoted value may have any character. 0: none
/// ends.
std::size_t labels_length(std::string_view text) {
    bool quoted = false;
    for (std::size_t i = 1; i < text.size(); ++i) {
        if (quoted && text[i] == '\\')
            ++i;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && text[i] == '}')
            return i + 1;
    }
    return 0;
}

}  // namespace

std::string_view name(Type type) {
    return type_names[static_cast<std::size_t>(type)];
}

Exposition::Kept& Exposition::kept(const Family& family) {
    const auto found = std::ranges::find(families_, family.name, &Kept::name);
    Kept& kept = found == families_.end() ? families_.emplace_back() : *found;
    kept.name = family.name;
    kept.help = family.help;
    kept.type = family.type;
    return kept;
}

Exposition::Kept& Exposition::kept_of_sample(std::string_view sample_name) {
    for (Kept& family : families_) {
        if (family.name == sample_name)
            return family;
        if (family.type != Type::histogram && family.type != Type::summary)
            continue;
        for (const std::string_view suffix : histogram_suffixes)
            if (sample_name == family.name + std::string(suffix))
                return family;
    }
    Kept& family = families_.emplace_back();
    family.name = sample_name;
    return family;
}

double& Exposition::sample(Kept& family, const std::string& key) {
    const auto found = std::ranges::find(family.samples, key, &Sample::key);
    return found == family.samples.end() ? family.samples.emplace_back(Sample{key, 0}).value
                                         : found->value;
}

void Exposition::set(const Family& family, const Labels& labels, double value) {
    sample(kept(family), key_of(family.name, labels)) = value;
}

void Exposition::add(const Family& family, const Labels& labels, double value) {
    sample(kept(family), key_of(family.name, labels)) += value;
}

void Exposition::observe(const Family& family, const Labels& labels, std::span<const double> bounds,
                         double value) {
    std::vector<std::uint64_t> counts(bounds.size() + 1);
    const auto bucket = std::ranges::lower_bound(bounds, value);
    ++counts[static_cast<std::size_t>(bucket - bounds.begin())];
    observe(family, labels, bounds, counts, value);
}

void Exposition::observe(const Family& family, const Labels& labels, std::span<const double> bounds,
                         std::span<const std::uint64_t> counts, double sum) {
    Kept& kept = this->kept(family);
    const std::string base(family.name);
    double below = 0;  // a bucket counts what is in the smaller ones, too
    for (std::size_t i = 0; i < counts.size(); ++i) {
        below += static_cast<double>(counts[i]);
        const std::string bound = i < bounds.size() ? number(bounds[i]) : "+Inf";
        Labels with_bound = labels;
        with_bound.emplace_back("le", bound);
        sample(kept, key_of(base + "_bucket", with_bound)) += below;
    }
    sample(kept, key_of(base + "_sum", labels)) += sum;
    sample(kept, key_of(base + "_count", labels)) += below;
}

void Exposition::remove(const Family& family, std::string_view name, std::string_view value) {
    const std::string wanted = label(name, value);
    std::erase_if(kept(family).samples, [&](const Sample& sample) {
        return sample.key.find("{" + wanted) != std::string::npos ||
               sample.key.find("," + wanted) != std::string::npos;
    });
}

double Exposition::value(const Family& family, const Labels& labels) const {
    const std::string key = key_of(family.name, labels);
    for (const Kept& kept : families_)
        for (const Sample& sample : kept.samples)
            if (sample.key == key)
                return sample.value;
    return 0;
}

std::string Exposition::text() const {
    std::string text;
    for (const Kept& family : families_) {
        if (!family.help.empty())
            text += fmt::format("# HELP {} {}\n", family.name, escaped(family.help, false));
        text += fmt::format("# TYPE {} {}\n", family.name, name(family.type));
        for (const Sample& sample : family.samples)
            text += fmt::format("{} {}\n", sample.key, number(sample.value));
    }
    return text;
}

Result<void> Exposition::parse_comment(std::string_view line) {
    (void)take_word(line);  // '#'
    const std::string_view kind = take_word(line);
    if (kind != "HELP" && kind != "TYPE")
        return {};
    const std::string_view of = take_word(line);
    if (!is_name(of))
        return fail(ErrorKind::protocol, "expected a metric's name, found '{}'", printable(of));
    const auto found = std::ranges::find(families_, of, &Kept::name);
    Kept& family = found == families_.end() ? families_.emplace_back() : *found;
    family.name = of;
    if (kind == "HELP") {
        family.help = unescaped(line);
        return {};
    }
    const auto* const type = std::ranges::find(type_names, line);
    if (type == type_names.end())
        return fail(ErrorKind::protocol, "expected a metric's type, found '{}'", printable(line));
    family.type = static_cast<Type>(type - type_names.begin());
    return {};
}

Result<void> Exposition::parse_line(std::string_view line) {
    if (line.empty())
        return {};
    if (line.front() == '#')
        return parse_comment(line);
    const std::size_t name_end = std::min(line.find_first_of("{ "), line.size());
    const std::string_view name = line.substr(0, name_end);
    std::size_t key_end = name_end;
    if (key_end < line.size() && line[key_end] == '{') {
        const std::size_t length = labels_length(line.substr(key_end));
        if (length == 0)
            return fail(ErrorKind::protocol, "expected '}}' behind the labels");
        key_end += length;
    }
    if (!is_name(name) || key_end >= line.size() || line[key_end] != ' ')
        return fail(ErrorKind::protocol, "expected a sample, found '{}'", printable(line));
    std::string_view rest = line.substr(key_end + 1);
    GC_TRY(const double value, parse_value(take_word(rest)));
    sample(kept_of_sample(name), std::string(line.substr(0, key_end))) = value;
    return {};
}

Result<Exposition> Exposition::parse(std::string_view text) {
    Exposition exposition;
    std::size_t number = 0;
    for (const std::string& line : lines_of(text)) {
        ++number;
        if (const auto done = exposition.parse_line(line); !done)
            return wrap(done.error(), fmt::format("line {}", number));
    }
    return exposition;
}

}  // namespace gc::metrics

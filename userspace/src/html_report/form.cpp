// SPDX-License-Identifier: GPL-2.0-or-later
#include "html_report/form.h"

#include <nlohmann/json.hpp>

namespace gc::html_report {
namespace {

constexpr std::size_t max_quoted = 40;  // characters of a value in a message

std::string describe(const Json& value) {
    if (value.is_object())
        return "an object";
    if (value.is_array())
        return fmt::format("a list of {}", value.size());
    // Cutting may split a character; the error handler replaces it.
    std::string dump = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (dump.size() > max_quoted)
        dump =
            Json(dump.substr(0, max_quoted)).dump(-1, ' ', true, Json::error_handler_t::replace) +
            "...";
    return dump;
}

Unexpected expected(std::string_view what, const Json& value, const std::string& place) {
    return fail(ErrorKind::protocol, "{}: expected {}, found {}",
                place.empty() ? "the document" : place, what, describe(value));
}

template <typename Is> Form leaf(std::string_view what, Is is) {
    return [what, is](const Json& value, const std::string& place) -> Result<void> {
        if (!is(value))
            return expected(what, value, place);
        return {};
    };
}

std::string member(const std::string& place, const std::string& name) {
    return place.empty() ? name : fmt::format("{}.{}", place, name);
}

}  // namespace

Form text() {
    return leaf("a string", [](const Json& value) { return value.is_string(); });
}

Form flag() {
    return leaf("true or false", [](const Json& value) { return value.is_boolean(); });
}

Form number() {
    return leaf("a number", [](const Json& value) { return value.is_number(); });
}

Form positive() {
    return leaf("a number above 0",
                [](const Json& value) { return value.is_number() && value.get<double>() > 0; });
}

Form count() {
    // The parser makes numbers without sign and fraction unsigned.
    return leaf("a count (0, 1, 2, ...)",
                [](const Json& value) { return value.is_number_unsigned(); });
}

Form maybe(Form form) {
    return [form = std::move(form)](const Json& value, const std::string& place) -> Result<void> {
        if (value.is_null())
            return {};
        return form(value, place);
    };
}

Form list(Form of) {
    return [of = std::move(of)](const Json& value, const std::string& place) -> Result<void> {
        if (!value.is_array())
            return expected("a list", value, place);
        for (std::size_t i = 0; i < value.size(); ++i)
            GC_CHECK(of(value[i], fmt::format("{}[{}]", place, i)));
        return {};
    };
}

Form list(std::size_t size, Form of) {
    return [size, each = list(std::move(of))](const Json& value,
                                              const std::string& place) -> Result<void> {
        if (!value.is_array() || value.size() != size)
            return expected(fmt::format("a list of {}", size), value, place);
        return each(value, place);
    };
}

Form object(Members required, Members optional) {
    return [required = std::move(required), optional = std::move(optional)](
               const Json& value, const std::string& place) -> Result<void> {
        if (!value.is_object())
            return expected("an object", value, place);
        for (const auto& [name, form] : required) {
            const auto found = value.find(name);
            if (found == value.end())
                return fail(ErrorKind::protocol, "{}: missing", member(place, name));
            GC_CHECK(form(*found, member(place, name)));
        }
        for (const auto& [name, form] : optional)
            if (const auto found = value.find(name); found != value.end())
                GC_CHECK(form(*found, member(place, name)));
        return {};
    };
}

Form map(Form of) {
    return [of = std::move(of)](const Json& value, const std::string& place) -> Result<void> {
        if (!value.is_object())
            return expected("an object", value, place);
        for (const auto& [name, each] : value.items())
            GC_CHECK(of(each, member(place, name)));
        return {};
    };
}

}  // namespace gc::html_report

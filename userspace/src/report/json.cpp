// SPDX-License-Identifier: GPL-2.0-or-later
// Writer, reader and schema of the report, all made from report/description.h.
#include "report/description.h"
#include "util/whole_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gc::report {
namespace {

using Json = nlohmann::ordered_json;

/// The classes that the first gcctl with this schema had: a file without one of these is not whole.
bool is_required(ledger::PageClass page_class) {
    using enum ledger::PageClass;
    return page_class == precopy || page_class == urgent || page_class == guide ||
           page_class == background;
}

template <typename T>
concept Described = requires {
    describe(static_cast<T*>(nullptr), [](auto&&...) {});
};
template <typename T>
concept Enum = std::is_enum_v<T>;
template <typename T>
concept Number = std::is_arithmetic_v<T>;

// ---- writing

Json encode(Number auto value) {
    return value;
}
Json encode(const std::string& value) {
    return value;
}
Json encode(Enum auto value) {
    return Names<decltype(value)>::list[static_cast<std::size_t>(value)];
}
Json encode(Positive number) {
    return number.value;
}
template <typename T, std::size_t size> Json encode(const std::array<T, size>& values) {
    return values;
}
template <typename T> Json encode(const std::vector<T>& values) {
    return values;
}
template <typename T> Json encode(const std::optional<T>& value);
template <typename T> Json encode(const std::map<std::string, T>& values);
Json encode(const ledger::ClassCounts& counts);

template <Described T> Json encode(const T& value) {
    Json object = Json::object();
    describe(static_cast<T*>(nullptr), [&](const char* name, auto member, auto&&...) {
        object[name] = encode(value.*member);
    });
    return object;
}

template <typename T> Json encode(const std::optional<T>& value) {
    return value ? encode(*value) : Json();
}

template <typename T> Json encode(const std::map<std::string, T>& values) {
    Json object = Json::object();
    for (const auto& [name, value] : values)
        object[name] = encode(value);
    return object;
}

Json encode(const ledger::ClassCounts& counts) {
    Json object{{"total", counts.total}};
    for (const ledger::PageClass page_class : ledger::page_classes)
        object[std::string(name(page_class))] = counts.in[page_class];
    object["zero"] = counts.zero;
    return object;
}

// ---- reading

/// A value and its place in the file, such as "guide.sent.bytes", for messages.
struct Place {
    const Json& json;
    std::string path;

    [[nodiscard]] Unexpected expected(std::string_view what) const {
        std::string found = json.dump(-1, ' ', false, Json::error_handler_t::replace);
        if (found.size() > 40)
            found = json.type_name();
        return fail(ErrorKind::protocol, "{}: expected {}, found {}",
                    path.empty() ? "the file" : path, what, found);
    }
    [[nodiscard]] Place at(const std::string& name) const {
        return {json.at(name), path.empty() ? name : path + "." + name};
    }
    [[nodiscard]] std::string of(const std::string& name) const {
        return path.empty() ? name : path + "." + name;
    }
};

Result<void> decode(const Place& from, bool& value) {
    if (!from.json.is_boolean())
        return from.expected("true or false");
    value = from.json.get<bool>();
    return {};
}

Result<void> decode(const Place& from, std::uint64_t& value) {
    if (!from.json.is_number_unsigned())
        return from.expected("a whole number that is not negative");
    value = from.json.get<std::uint64_t>();
    return {};
}

Result<void> decode(const Place& from, double& value) {
    if (!from.json.is_number())
        return from.expected("a number");
    value = from.json.get<double>();
    return {};
}

Result<void> decode(const Place& from, Positive& number) {
    if (!from.json.is_number() || from.json.get<double>() <= 0)
        return from.expected("a number above 0");
    number.value = from.json.get<double>();
    return {};
}

Result<void> decode(const Place& from, std::string& value) {
    if (!from.json.is_string())
        return from.expected("a string");
    value = from.json.get<std::string>();
    return {};
}

template <Enum T> Result<void> decode(const Place& from, T& value) {
    const auto& names = Names<T>::list;
    const auto found = from.json.is_string()
                           ? std::ranges::find(names, from.json.get<std::string>())
                           : names.end();
    if (found == names.end())
        return from.expected(fmt::format("one of {}", Json(names).dump()));
    value = static_cast<T>(found - names.begin());
    return {};
}

template <typename T> Result<void> decode(const Place& from, std::optional<T>& value);
template <typename T> Result<void> decode(const Place& from, std::map<std::string, T>& values);
Result<void> decode(const Place& from, ledger::ClassCounts& counts);

template <typename Range> Result<void> decode_elements(const Place& from, Range& values) {
    std::size_t index = 0;
    for (auto& value : values) {
        GC_CHECK(decode({from.json[index], fmt::format("{}[{}]", from.path, index)}, value));
        ++index;
    }
    return {};
}

template <typename T, std::size_t size>
Result<void> decode(const Place& from, std::array<T, size>& values) {
    if (!from.json.is_array() || from.json.size() != size)
        return from.expected(fmt::format("a list of {} values", size));
    return decode_elements(from, values);
}

template <typename T> Result<void> decode(const Place& from, std::vector<T>& values) {
    if (!from.json.is_array())
        return from.expected("a list");
    values.resize(from.json.size());
    return decode_elements(from, values);
}

template <Described T> Result<void> decode(const Place& from, T& value) {
    if (!from.json.is_object())
        return from.expected("an object");
    Result<void> result;
    describe(static_cast<T*>(nullptr),
             [&](const char* name, auto member, const char*, Presence presence = Presence::always) {
                 if (!result)
                     return;
                 if (from.json.contains(name))
                     result = decode(from.at(name), value.*member);
                 else if (presence == Presence::always)
                     result = fail(ErrorKind::protocol, "{}: missing", from.of(name));
             });
    return result;
}

template <typename T> Result<void> decode(const Place& from, std::optional<T>& value) {
    if (from.json.is_null()) {
        value.reset();
        return {};
    }
    return decode(from, value.emplace());
}

template <typename T> Result<void> decode(const Place& from, std::map<std::string, T>& values) {
    if (!from.json.is_object())
        return from.expected("an object");
    for (const auto& [name, value] : from.json.items())
        GC_CHECK(decode(from.at(name), values[name]));
    return {};
}

Result<void> decode(const Place& from, ledger::ClassCounts& counts) {
    if (!from.json.is_object())
        return from.expected("an object");
    const auto member = [&](const std::string& name, std::uint64_t& value,
                            bool required) -> Result<void> {
        if (from.json.contains(name))
            return decode(from.at(name), value);
        return required ? fail(ErrorKind::protocol, "{}: missing", from.of(name)) : Result<void>();
    };
    GC_CHECK(member("total", counts.total, true));
    GC_CHECK(member("zero", counts.zero, true));
    for (const ledger::PageClass page_class : ledger::page_classes)
        GC_CHECK(
            member(std::string(name(page_class)), counts.in[page_class], is_required(page_class)));
    return {};
}

// ---- schema

template <typename T> struct Type {};

Json schema_of(Type<bool>) {
    return {{"type", "boolean"}};
}
Json schema_of(Type<std::uint64_t>) {
    return {{"type", "integer"}, {"minimum", 0}};
}
Json schema_of(Type<double>) {
    return {{"type", "number"}};
}
Json schema_of(Type<Positive>) {
    return {{"type", "number"}, {"exclusiveMinimum", 0}};
}
Json schema_of(Type<std::string>) {
    return {{"type", "string"}};
}
template <Enum T> Json schema_of(Type<T>) {
    return {{"enum", Names<T>::list}};
}
template <typename T> Json schema_of(Type<std::optional<T>>);
template <typename T> Json schema_of(Type<std::map<std::string, T>>);
Json schema_of(Type<ledger::ClassCounts>);

template <typename T, std::size_t size> Json schema_of(Type<std::array<T, size>>) {
    return {
        {"type", "array"}, {"items", schema_of(Type<T>())}, {"minItems", size}, {"maxItems", size}};
}
template <typename T> Json schema_of(Type<std::vector<T>>) {
    return {{"type", "array"}, {"items", schema_of(Type<T>())}};
}

template <typename Of, typename Member> Type<Member> member_type(Member Of::*) {
    return {};
}

template <Described T> Json schema_of(Type<T>) {
    Json properties = Json::object();
    Json required = Json::array();
    describe(static_cast<T*>(nullptr), [&](const char* name, auto member, const char* meaning,
                                           Presence presence = Presence::always) {
        Json property = schema_of(member_type(member));
        property["description"] = meaning;
        properties[name] = std::move(property);
        if (presence == Presence::always)
            required.push_back(name);
    });
    return {{"type", "object"}, {"properties", properties}, {"required", required}};
}

template <typename T> Json schema_of(Type<std::optional<T>>) {
    return {{"anyOf", {schema_of(Type<T>()), {{"type", "null"}}}}};
}
template <typename T> Json schema_of(Type<std::map<std::string, T>>) {
    return {{"type", "object"}, {"additionalProperties", schema_of(Type<T>())}};
}
Json schema_of(Type<ledger::ClassCounts>) {
    const Json count = schema_of(Type<std::uint64_t>());
    Json properties{{"total", count}};
    Json required{"total", "zero"};
    for (const ledger::PageClass page_class : ledger::page_classes) {
        properties[std::string(name(page_class))] = count;
        if (is_required(page_class))
            required.push_back(name(page_class));
    }
    properties["zero"] = count;
    properties["zero"]["description"] = "sent as a zero marker; counted in its class as well";
    return {{"type", "object"}, {"properties", properties}, {"required", required}};
}

}  // namespace

std::string_view name(Outcome outcome) {
    return Names<Outcome>::list[static_cast<std::size_t>(outcome)];
}

std::string_view name(GuideEnd end) {
    return Names<GuideEnd>::list[static_cast<std::size_t>(end)];
}

std::string_view name(PrecopyEnd end) {
    return Names<PrecopyEnd>::list[static_cast<std::size_t>(end)];
}

std::string_view name(Capture capture) {
    return Names<Capture>::list[static_cast<std::size_t>(capture)];
}

Json to_json(const Report& report) {
    return encode(report);
}

Json to_json(const DemandReport& demand) {
    return encode(demand);
}

Json to_json(const QemuPostcopyReport& figures) {
    return encode(figures);
}

Result<QemuPostcopyReport> qemu_postcopy_from_json(const Json& json) {
    QemuPostcopyReport figures;
    GC_CHECK(decode({json, "qemu_postcopy"}, figures));
    return figures;
}

Result<Report> report_from_json(const Json& json) {
    Report report;
    GC_CHECK(decode({json, ""}, report));
    return report;
}

Result<DemandReport> demand_from_json(const Json& json) {
    DemandReport demand;
    GC_CHECK(decode({json, "demand"}, demand));
    return demand;
}

Json json_schema() {
    Json schema{{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                {"$id", Report::schema_name},
                {"title", "The report of a migration by gcctl"}};
    schema.update(schema_of(Type<Report>()));
    schema["properties"]["schema"]["const"] = Report::schema_name;
    return schema;
}

Result<void> write_report(const Report& report, const std::string& path) {
    return write_whole_file(path, to_json(report).dump(2) + "\n");
}

}  // namespace gc::report

// SPDX-License-Identifier: GPL-2.0-or-later
#include "html_report/input.h"

#include "report/report.h"

#include <nlohmann/json.hpp>

namespace gc::html_report {
namespace {

constexpr int max_depth =
    16;  // limits recursion when the document is written; real ones nest 5 deep

Form row() {
    return object({{"workload", text()},
                   {"mode", text()},
                   {"metric", text()},
                   {"unit", text()},
                   {"median", number()},
                   {"min", number()},
                   {"max", number()},
                   {"n", count()},
                   {"ratio", maybe(number())}});
}

Form machine() {
    return object({}, {{"cpu", text()}, {"kernel", text()}, {"qemu", text()}, {"virtual", flag()}});
}

/// A failed run needs no members besides its error.
Form run() {
    const Members name{
        {"workload", text()}, {"mode", text()}, {"round", count()}, {"error", text()}};
    const Form throughput =
        object({{"step_ms", positive()}, {"from_ms", number()}, {"per_s", list(number())}});
    const Form faults = object({{"step_ms", positive()}, {"counts", list(count())}});
    Members classes;
    for (const std::string_view page_class : ledger::page_class_names)
        classes.emplace_back(page_class, count());
    const Form bytes = object(classes);
    const Members data{{"throughput", maybe(throughput)},
                       {"faults", maybe(faults)},
                       {"stall_us", maybe(list(report::Histogram::buckets, count()))},
                       {"bytes", maybe(bytes)}};
    Members all = name;
    all.insert(all.end(), data.begin(), data.end());
    return [failed = object(name, data),
            whole = object(all)](const Json& value, const std::string& place) -> Result<void> {
        GC_CHECK(failed(value, place));
        return value["error"] == "" ? whole(value, place) : Result<void>();
    };
}

/// Common to all benchmarks.
Form benchmark() {
    return object({{"bench", text()}, {"rows", list(row())}}, {{"reference", text()},
                                                               {"machine", machine()},
                                                               {"link_mbit", number()},
                                                               {"runs", list(run())}});
}

/// Additional members of "guidecopy.bench/1".
Form benchmark_of_runs() {
    return object({{"reference", text()}, {"machine", object({})}, {"runs", list(object({}))}});
}

Result<Json> parse(std::string_view text) {
    bool too_deep = false;
    const auto shallow = [&](int depth, Json::parse_event_t, const Json&) {
        too_deep = too_deep || depth > max_depth;
        return depth <= max_depth;
    };
    try {
        Json parsed = Json::parse(text, shallow);
        if (too_deep)
            return fail(ErrorKind::protocol, "expected values nested at most {} deep", max_depth);
        return parsed;
    } catch (const Json::exception& error) {
        return fail(ErrorKind::protocol, "expected JSON: {}", error.what());
    }
}

Result<void> check(const Json& input) {
    if (!input.is_object())
        return object({})(input, "");
    const auto schema = input.find("schema");
    if (schema == input.end()) {
        if (!input.contains("bench"))
            return fail(ErrorKind::protocol, "expected a \"schema\" or a \"bench\", found neither");
        return benchmark()(input, "");
    }
    if (*schema == report::Report::schema_name) {
        GC_CHECK(report::report_from_json(input));
        return {};
    }
    if (*schema == "guidecopy.bench/1") {
        GC_CHECK(benchmark()(input, ""));
        return benchmark_of_runs()(input, "");
    }
    return fail(ErrorKind::protocol,
                "schema: expected \"guidecopy.report/1\" or \"guidecopy.bench/1\", found {}",
                schema->is_string() ? schema->dump() : std::string("a value that is not a string"));
}

}  // namespace

Result<Json> read_input(std::string_view text) {
    auto input = parse(text);
    if (input)
        if (auto checked = check(*input); !checked)
            input = Unexpected(std::move(checked).error());
    if (!input)
        return fail(ErrorKind::protocol,
                    "{}; pass the file of 'gcctl migrate --report' or of a benchmark (make "
                    "bench-NAME) of this version of guidecopy",
                    input.error().message);
    return input;
}

}  // namespace gc::html_report

// SPDX-License-Identifier: GPL-2.0-or-later
#include "html_report/input.h"

#include "report/histogram.h"
#include "report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gc::html_report {
namespace {

using testing::HasSubstr;

/// As the current gcctl writes it.
Json migration() {
    report::Report report;
    report.measured.emplace().coverage = 0.5;
    report.simulated.emplace();
    report.policy.classes["guide"] = {};
    return Json::parse(to_json(report).dump());
}

Json benchmark() {
    return Json::parse(R"({
        "schema": "guidecopy.bench/1", "bench": "migration", "reference": "A",
        "machine": {"cpu": "a CPU", "kernel": "6.1", "qemu": "7.2", "virtual": true}, "link_mbit": 40,
        "rows": [{"workload": "w", "mode": "A", "metric": "m", "unit": "", "median": 1.5, "min": 1, "max": 2,
                  "n": 3, "ratio": null}],
        "runs": [{"workload": "w", "mode": "A", "round": 1, "error": "",
                  "throughput": {"step_ms": 100, "from_ms": -500, "per_s": [1, 2.5]},
                  "faults": {"step_ms": 10, "counts": [0, 1]},
                  "stall_us": [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1],
                  "bytes": {"urgent": 1, "guide": 2, "warm": 3, "background": 4, "precopy": 5}}]})");
}

/// The error in the document; empty if it is valid.
std::string complaint(const Json& document) {
    const auto input = read_input(document.dump());
    return input ? "" : input.error().message;
}

Json without(Json document, const char* pointer) {
    const Json::json_pointer place(pointer);
    document[place.parent_pointer()].erase(place.back());
    return document;
}

Json with(Json document, const char* pointer, Json value) {
    document[Json::json_pointer(pointer)] = std::move(value);
    return document;
}

TEST(Input, IsTheReportOfAMigration) {
    EXPECT_EQ(complaint(migration()), "");
    EXPECT_EQ(complaint(with(migration(), "/measured", nullptr)), "");
    EXPECT_EQ(complaint(with(migration(), "/demand/timeline",
                             {{"step_ms", 10.5}, {"counts", {0, 3, 1}}})),
              "");
}

TEST(Input, IsAnOlderReport) {
    Json older = migration();
    for (const char* later :
         {"/next", "/hot", "/policy", "/measured", "/simulated", "/guide/load_ms",
          "/guide/waited_ms", "/guide/sent", "/guide/memory_bytes", "/pages/warm", "/bytes/warm"})
        older = without(older, later);
    EXPECT_EQ(complaint(older), "");
}

TEST(Input, MembersOfAReportAreMissing) {
    for (const char* member : {"/result",
                               "/error",
                               "/mode",
                               "/downtime_ms",
                               "/total_ms",
                               "/pages",
                               "/pages/guide",
                               "/bytes",
                               "/bytes/total",
                               "/demand",
                               "/demand/stall_ms",
                               "/demand/histogram_us",
                               "/guide/ended",
                               "/next/sent",
                               "/hot/from",
                               "/policy/tenants/bytes",
                               "/policy/classes/guide/packets",
                               "/measured/coverage",
                               "/simulated/vms",
                               "/qemu/source",
                               "/kernel"})
        EXPECT_THAT(complaint(without(migration(), member)), HasSubstr(": missing")) << member;
}

TEST(Input, MembersOfAReportAreOfOtherTypes) {
    EXPECT_THAT(
        complaint(with(migration(), "/demand/faults", "3")),
        HasSubstr(R"(demand.faults: expected a whole number that is not negative, found "3")"));
    EXPECT_THAT(complaint(with(migration(), "/pages/urgent", -1)), HasSubstr("pages.urgent: "));
    EXPECT_THAT(complaint(with(migration(), "/demand/histogram_us", Json::array({1, 2}))),
                HasSubstr("expected a list of 24 values, found [1,2]"));
    EXPECT_THAT(complaint(with(migration(), "/demand/timeline", {{"step_ms", 10}})),
                HasSubstr("demand.timeline.counts: missing"));
    EXPECT_THAT(complaint(with(migration(), "/demand/timeline",
                               {{"step_ms", 0}, {"counts", Json::array()}})),
                HasSubstr("demand.timeline.step_ms: expected a number above 0"));
    EXPECT_THAT(complaint(with(migration(), "/policy/classes/guide", 1)),
                HasSubstr("policy.classes.guide: expected an object"));
}

TEST(Input, IsABenchmark) {
    EXPECT_EQ(complaint(benchmark()), "");
    Json told_less = benchmark();
    for (const char* member : {"throughput", "faults", "stall_us", "bytes"})
        told_less["runs"][0][member] = nullptr;
    EXPECT_EQ(complaint(told_less), "");
}

TEST(Input, ARunThatFailedNeedNotSayMore) {
    Json failed = benchmark();
    failed["runs"][0] = {{"workload", "w"}, {"mode", "A"}, {"round", 1}, {"error", "died"}};
    EXPECT_EQ(complaint(failed), "");
    failed["runs"][0]["error"] = "";
    EXPECT_THAT(complaint(failed), HasSubstr("runs[0].throughput: missing"));
}

TEST(Input, MembersOfABenchmarkAreMissingOrOfOtherTypes) {
    for (const char* member :
         {"/bench", "/reference", "/machine", "/rows", "/runs", "/rows/0/median", "/rows/0/ratio",
          "/runs/0/mode", "/runs/0/bytes", "/runs/0/bytes/warm", "/runs/0/throughput/from_ms"})
        EXPECT_THAT(complaint(without(benchmark(), member)), HasSubstr(": missing")) << member;
    EXPECT_THAT(complaint(with(benchmark(), "/rows/0/median", nullptr)),
                HasSubstr("rows[0].median: expected a number, found null"));
    EXPECT_THAT(complaint(with(benchmark(), "/runs/0/faults/counts/1", 0.5)),
                HasSubstr("runs[0].faults.counts[1]: expected a count"));
    EXPECT_THAT(complaint(with(benchmark(), "/runs/0/stall_us", Json::array())),
                HasSubstr("runs[0].stall_us: expected a list of 24"));
    EXPECT_THAT(complaint(with(benchmark(), "/machine/virtual", "yes")),
                HasSubstr("machine.virtual: expected true or false"));
}

TEST(Input, IsABenchmarkOfRowsOnly) {
    Json rows = without(without(benchmark(), "/schema"), "/runs");
    EXPECT_EQ(complaint(rows), "");
    EXPECT_EQ(complaint(without(rows, "/reference")), "") << "make bench-track has none";
    EXPECT_THAT(complaint(without(rows, "/rows")), HasSubstr("rows: missing"));
}

TEST(Input, RunsAreCheckedWithoutASchemaToo) {
    Json bare = without(benchmark(), "/schema");
    EXPECT_EQ(complaint(bare), "");
    EXPECT_THAT(complaint(with(bare, "/runs", "none")), HasSubstr("runs: expected a list"));
}

TEST(Input, IsOfNoKnownSchema) {
    EXPECT_THAT(complaint(with(migration(), "/schema", "guidecopy.report/2")),
                HasSubstr(R"(expected "guidecopy.report/1" or "guidecopy.bench/1", found )"
                          R"("guidecopy.report/2"; pass the file of 'gcctl migrate --report')"));
    EXPECT_THAT(complaint(with(migration(), "/schema", 1)),
                HasSubstr("found a value that is not a string"));
    EXPECT_THAT(complaint(Json::object()), HasSubstr("expected a \"schema\" or a \"bench\""));
    EXPECT_THAT(complaint(Json::array()), HasSubstr("expected an object"));
}

TEST(Input, IsNotJson) {
    for (const char* text : {"", "{", "{} {}", "\xff", "{\"schema\": 1e999}", "null,"}) {
        const auto input = read_input(text);
        ASSERT_FALSE(input) << text;
        EXPECT_THAT(input.error().message, HasSubstr("expected JSON: ")) << text;
        EXPECT_EQ(input.error().message.find('\n'), std::string::npos) << text;
    }
}

TEST(Input, NestsTooDeep) {
    const std::string deep =
        R"({"bench": "b", "rows": [], "x": )" + std::string(100000, '[') + std::string(100000, ']');
    const auto input = read_input(deep + "}");
    ASSERT_FALSE(input);
    EXPECT_THAT(input.error().message, HasSubstr("nested at most 16 deep"));
}

}  // namespace
}  // namespace gc::html_report

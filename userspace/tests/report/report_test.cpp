// SPDX-License-Identifier: GPL-2.0-or-later
#include "report/histogram.h"
#include "report/report.h"

#include <filesystem>
#include <fmt/ranges.h>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace gc::report {
namespace {

using namespace std::chrono_literals;

TEST(Histogram, BucketsArePowersOfTwoMicroseconds) {
    Histogram histogram;
    for (const auto duration : {std::chrono::nanoseconds(500), 1000ns, 1999ns})
        histogram.add(duration);
    histogram.add(2us);
    histogram.add(1023us);
    histogram.add(1024us);
    histogram.add(1h);
    EXPECT_EQ(histogram.counts()[0], 3U);
    EXPECT_EQ(histogram.counts()[1], 1U);
    EXPECT_EQ(histogram.counts()[9], 1U);
    EXPECT_EQ(histogram.counts()[10], 1U);
    EXPECT_EQ(histogram.counts()[23], 1U) << "the last bucket takes what is longer";
    EXPECT_EQ(histogram.count(), 7U);
}

TEST(Histogram, QuantilesAreUpperBounds) {
    Histogram histogram;
    EXPECT_EQ(histogram.quantile_us(0.5), 0U) << "nothing was counted";
    for (int i = 0; i < 99; ++i)
        histogram.add(100us);
    histogram.add(5ms);
    EXPECT_EQ(histogram.quantile_us(0.5), 128U);
    EXPECT_EQ(histogram.quantile_us(0.99), 128U);
    EXPECT_EQ(histogram.quantile_us(0.999), 8192U);
}

TEST(Timeline, CountsByStep) {
    Timeline timeline;
    EXPECT_TRUE(timeline.counts().empty());
    timeline.add(99ms);
    timeline.add(100ms);
    timeline.add(350ms);
    timeline.add(-1ms);
    EXPECT_EQ(timeline.counts(), (std::vector<std::uint64_t>{2, 1, 0, 1}));
    timeline.add(24h);
    timeline.add(48h);
    ASSERT_EQ(timeline.counts().size(), Timeline::steps);
    EXPECT_EQ(timeline.counts().back(), 2U) << "the last step takes what is later";
}

TEST(Report, HasTheKeysOfItsSchema) {
    Report report;
    report.pages = {.total = 10, .in = {1, 2, 3, 0, 4}, .zero = 5};
    report.next = {16, 7};
    const nlohmann::json json = to_json(report);
    EXPECT_EQ(json.at("schema"), "guidecopy.report/1");
    for (const char* key : {"result", "error", "mode", "capture", "downtime_ms", "total_ms",
                            "pages", "bytes", "precopy", "demand", "zeros", "compress", "guide",
                            "next", "hot", "measured", "simulated", "qemu", "kernel"})
        EXPECT_TRUE(json.contains(key)) << key;
    EXPECT_EQ(json.at("demand").at("histogram_us").size(), 24U);
    EXPECT_TRUE(json.at("demand").at("timeline").is_null()) << "nothing was measured";
    EXPECT_EQ(json.at("pages").at("guide"), 3);
    EXPECT_EQ(json.at("guide").at("ended"), "off");
    EXPECT_EQ(json.at("next"), (nlohmann::json{{"pages", 16}, {"sent", 7}}));
    EXPECT_EQ(json.at("guide").at("sent").at("dropped_by"), "none");
}

/// A report in which every optional part is there.
Report whole_report() {
    Report report;
    report.result = Outcome::completed;
    report.mode = Mode::guide;
    report.capture = Capture::kmod;
    report.pages = {.total = 10, .in = {1, 2, 3, 0, 4}, .zero = 5};
    report.demand.faults = 2;
    report.demand.histogram_us[4] = 2;
    report.demand.timeline = DemandTimeline{.step_ms = {100}, .counts = {0, 2}};
    report.qemu_postcopy = QemuPostcopyReport{.blocktime_ms = 3,
                                              .vcpu_blocktime_ms = {3, 4},
                                              .latency_ns = 5000,
                                              .latency_dist = {0, 1},
                                              .vcpu_latency_ns = {5000, 0},
                                              .non_vcpu_latency_ns = 6};
    report.demand.local = 3;
    report.zeros = {.pages = 4, .runs = 1};
    report.precopy = {
        .ended = PrecopyEnd::no_gain, .rounds_ms = {0, 50}, .remaining_bytes = {9, 8}};
    report.compress = {
        .mode = CompressMode::automatic, .reason = "", .bytes = 9, .sent = 5, .cpu_ms = 0.5};
    report.guide.ended = GuideEnd::memory_limit;
    report.guide.sent.dropped_by = DroppedBy::netns;
    report.policy.classes["guide"].bytes = 7;
    report.measured.emplace().coverage = 0.5;
    report.simulated.emplace().trace = "vm.trace";
    return report;
}

TEST(Report, IsReadAsItWasWritten) {
    const nlohmann::ordered_json written = to_json(whole_report());
    const auto read = report_from_json(written);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(to_json(*read), written);
    EXPECT_EQ(read->guide.ended, GuideEnd::memory_limit);
    EXPECT_EQ(read->pages, whole_report().pages);
}

TEST(Report, AClassOrMemberYoungerThanTheFileMayBeMissing) {
    nlohmann::ordered_json older = to_json(whole_report());
    older["pages"].erase("warm");
    older.erase("next");
    older["demand"].erase("timeline");
    older.erase("qemu_postcopy");
    older["demand"].erase("local");
    older.erase("zeros");
    older.erase("precopy");
    older.erase("compress");
    EXPECT_TRUE(report_from_json(older));
}

TEST(Report, WhatIsWrongIsNamedWithItsPlace) {
    struct Case {
        const char* pointer;
        nlohmann::ordered_json value;
        const char* message;
    };
    const Case cases[] = {
        {"/guide/ended", "well",
         R"(guide.ended: expected one of ["complete","diverged","died","memory-limit","refused","off"], found "well")"},
        {"/pages/urgent", -1,
         "pages.urgent: expected a whole number that is not negative, found -1"},
        {"/demand/histogram_us",
         {1, 2},
         "demand.histogram_us: expected a list of 24 values, found [1,2]"},
        {"/demand/timeline/counts/1", "x",
         R"(demand.timeline.counts[1]: expected a whole number that is not negative, found "x")"},
        {"/policy/classes/guide", 1, "policy.classes.guide: expected an object, found 1"},
        {"/measured/coverage", "all", R"(measured.coverage: expected a number, found "all")"},
    };
    for (const auto& [pointer, value, message] : cases) {
        nlohmann::ordered_json wrong = to_json(whole_report());
        wrong[nlohmann::ordered_json::json_pointer(pointer)] = value;
        const auto read = report_from_json(wrong);
        ASSERT_FALSE(read) << pointer;
        EXPECT_EQ(read.error().message, message);
    }
    nlohmann::ordered_json short_of = to_json(whole_report());
    short_of["guide"].erase("reason");
    EXPECT_EQ(report_from_json(short_of).error().message, "guide.reason: missing");
    EXPECT_EQ(report_from_json(nlohmann::ordered_json::array()).error().message,
              "the file: expected an object, found []");
}

/// The places, such as "/guide/sent/bytes", that a schema describes.
void collect(const nlohmann::ordered_json& schema, const std::string& at,
             std::set<std::string>& into) {
    if (schema.contains("anyOf"))
        collect(schema["anyOf"][0], at, into);
    const auto properties = schema.value("properties", nlohmann::ordered_json::object());
    for (const auto& [name, property] : properties.items()) {
        into.insert(at + "/" + name);
        collect(property, at + "/" + name, into);
    }
}

/// The same of a document.
void collect_members(const nlohmann::ordered_json& json, const std::string& at,
                     std::set<std::string>& into) {
    if (!json.is_object() || at == "/policy/classes")
        return;
    for (const auto& [name, value] : json.items()) {
        into.insert(at + "/" + name);
        collect_members(value, at + "/" + name, into);
    }
}

TEST(Schema, DescribesEveryMemberOfAReport) {
    std::set<std::string> described, written;
    collect(json_schema(), "", described);
    collect_members(to_json(whole_report()), "", written);
    EXPECT_EQ(described, written);
    EXPECT_TRUE(described.contains("/measured/touched/warm"));
}

TEST(Schema, SaysWhatAMemberMustBe) {
    const nlohmann::ordered_json schema = json_schema();
    EXPECT_EQ(schema["properties"]["schema"]["const"], "guidecopy.report/1");
    EXPECT_EQ(schema["properties"]["result"]["enum"],
              (nlohmann::ordered_json{"completed", "failed", "cancelled"}));
    EXPECT_EQ(schema["properties"]["demand"]["properties"]["histogram_us"]["minItems"], 24);
    const auto& required = schema["required"];
    EXPECT_NE(std::ranges::find(required, "guide"), required.end());
    EXPECT_EQ(std::ranges::find(required, "policy"), required.end()) << "older files lack it";
}

/// The members that each object of a schema must have, by the object's place; "*" is any name.
void collect_required(const nlohmann::ordered_json& schema, const std::string& at,
                      std::map<std::string, std::string>& into) {
    if (schema.contains("anyOf"))
        collect_required(schema["anyOf"][0], at, into);
    if (schema.contains("required"))
        into[at] =
            fmt::format("{}", fmt::join(schema["required"].get<std::vector<std::string>>(), " "));
    const auto properties = schema.value("properties", nlohmann::ordered_json::object());
    for (const auto& [name, property] : properties.items())
        collect_required(property, at + "/" + name, into);
    if (schema.contains("additionalProperties") && schema["additionalProperties"].is_object())
        collect_required(schema["additionalProperties"], at + "/*", into);
}

TEST(Schema, RequiresNothingThatOlderFilesLack) {
    const std::string classes = "total zero precopy urgent guide background";
    const std::string traffic = "packets bytes drops delayed delay_ms delay_max_ms";
    const std::map<std::string, std::string> ever = {
        {"", "schema result error mode capture downtime_ms total_ms pages bytes demand guide qemu "
             "kernel"},
        {"/pages", classes},
        {"/bytes", classes},
        {"/precopy", "ended rounds_ms remaining_bytes"},
        {"/demand", "faults stall_ms p50_us p99_us p999_us histogram_us"},
        {"/demand/timeline", "step_ms counts"},
        {"/zeros", "pages runs"},
        {"/compress", "mode reason bytes sent cpu_ms"},
        {"/qemu_postcopy", "blocktime_ms vcpu_blocktime_ms latency_ns latency_dist "
                           "vcpu_latency_ns non_vcpu_latency_ns"},
        {"/guide", "started records pushed dropped blocked_ms ended reason"},
        {"/guide/sent", "packets bytes arp ipv4 ipv6 other dropped_by"},
        {"/guide/mirror", "on reason nics packets bytes again dropped connections in_step dead"},
        {"/forward", "on reason nics packets bytes dropped delivered refused"},
        {"/next", "pages sent"},
        {"/hot", "from pages reason"},
        {"/policy", "name device joined reason classes tenants"},
        {"/policy/classes/*", traffic},
        {"/policy/tenants", traffic},
        {"/security", "protection peer cipher"},
        {"/measured", "time_ms touched asked coverage accuracy waste_bytes unresolved"},
        {"/measured/touched", classes},
        {"/simulated", "trace trace_ms link rtt_us vms vcpus memory_bytes touched waited_ms"},
        {"/qemu", "source destination"}};
    std::map<std::string, std::string> required;
    collect_required(json_schema(), "", required);
    EXPECT_EQ(required, ever) << "a member that is new has Presence::later";
}

TEST(Report, IsWrittenWhole) {
    const std::string path = testing::TempDir() + "/report.json";
    ASSERT_TRUE(write_report(Report{}, path));
    std::ifstream file(path);
    EXPECT_EQ(nlohmann::json::parse(file).at("result"), "failed");
    EXPECT_FALSE(std::filesystem::exists(path + ".new"));
    std::filesystem::remove(path);
}

TEST(Report, UnwritableFileIsNamed) {
    const auto written = write_report(Report{}, "/nonexistent/report.json");
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().message.find("/nonexistent/report.json"), std::string::npos);
}

TEST(Summary, TellsTheClassesAndTheGuidesEnd) {
    Report report;
    report.mode = Mode::guide;
    report.pages = {.total = 1000, .in = {0, 0, 250, 0, 750}};
    report.guide.started = true;
    report.guide.pushed = 250;
    report.guide.sent.packets = 17;
    report.guide.ended = GuideEnd::died;
    report.guide.reason = "killed by signal 9";
    const std::string text = summary(report);
    EXPECT_NE(text.find("17 packets into its quarantine"), std::string::npos) << text;
    EXPECT_NE(text.find("25.0 %"), std::string::npos) << text;
    EXPECT_NE(text.find("died, killed by signal 9"), std::string::npos) << text;
}

TEST(Summary, TellsWhatWasSentAfterDemandFaults) {
    Report report;
    EXPECT_EQ(summary(report).find("after demand faults"), std::string::npos) << "it was off";
    report.next = {16, 7};
    EXPECT_NE(summary(report).find("of the warm 7 were sent ahead after demand faults, 16 after "
                                   "each"),
              std::string::npos)
        << summary(report);
}

TEST(Summary, TellsWhatWasMeasured) {
    Report report;
    EXPECT_EQ(summary(report).find("measured"), std::string::npos) << "nothing was";
    report.measured = MeasureReport{.time_ms = 12'300,
                                    .touched = {.total = 4321, .in = {}},
                                    .asked = 43,
                                    .coverage = 0.99,
                                    .accuracy = {},
                                    .waste_bytes = 3 << 19};
    EXPECT_NE(summary(report).find("measured for 12.3 s: 4321 pages touched, coverage 99.0 %, "
                                   "accuracy -, waste 1.5 MiB"),
              std::string::npos)
        << summary(report);
    EXPECT_TRUE(to_json(report).at("measured").at("accuracy").is_null());
}

TEST(Summary, SaysThatItIsSimulated) {
    Report report;
    EXPECT_EQ(summary(report).find("simulated"), std::string::npos) << "it is not";
    report.simulated = SimulatedReport{.trace = "vm.trace",
                                       .trace_ms = 2500,
                                       .link_bytes_per_s = 1'250'000'000,
                                       .rtt_us = 50,
                                       .vms = 3,
                                       .vcpus = 6,
                                       .memory_bytes = std::uint64_t{8} << 30,
                                       .touched = 1234,
                                       .waited_ms = 1.25};
    const std::string text = summary(report);
    EXPECT_EQ(text.find("simulated post-copy: failed"), 0U) << text;
    EXPECT_NE(text.find("nothing was moved; 3 VM(s) of 8.0 GiB, 6 vCPUs together, each touches "
                        "1234 pages in 2.5 s of vm.trace"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("link 10.00 Gbit/s, round trip 50 us"), std::string::npos) << text;
    EXPECT_EQ(to_json(report).at("simulated").at("link"), 1'250'000'000);
}

TEST(Report, ThePolicyHasItsClassesByName) {
    Report report;
    EXPECT_EQ(to_json(report)["policy"]["name"], "none");
    EXPECT_EQ(summary(report).find("policy:"), std::string::npos);
    report.policy = {.name = "silent",
                     .device = "eth0",
                     .object = "",
                     .joined = true,
                     .reason = "",
                     .classes = {},
                     .tenants = {}};
    report.policy.classes.emplace("guide", TrafficCounts{.packets = 3,
                                                         .bytes = 4500,
                                                         .drops = 1,
                                                         .delayed = 2,
                                                         .delay_ms = 5,
                                                         .delay_max_ms = 4});
    report.policy.tenants.bytes = 3 << 20;
    const nlohmann::json policy = to_json(report)["policy"];
    EXPECT_EQ(policy["device"], "eth0");
    EXPECT_EQ(policy["joined"], true);
    EXPECT_EQ(policy["classes"]["guide"]["bytes"], 4500);
    EXPECT_EQ(policy["classes"]["guide"]["drops"], 1);
    EXPECT_EQ(policy["tenants"]["bytes"], 3 << 20);
    EXPECT_NE(summary(report).find("policy: silent on eth0; others sent 3.0 MiB; 2 packets held "
                                   "back, 2.5 ms on average, 1 dropped"),
              std::string::npos)
        << summary(report);
}

}  // namespace
}  // namespace gc::report

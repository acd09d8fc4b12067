// SPDX-License-Identifier: GPL-2.0-or-later
#include "report/histogram.h"
#include "report/report.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

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
    report.pages = {.total = 10, .precopy = 1, .urgent = 2, .guide = 3, .background = 4, .zero = 5};
    report.next = {16, 7};
    const nlohmann::json json = report.to_json();
    EXPECT_EQ(json.at("schema"), "guidecopy.report/1");
    for (const char* key :
         {"result", "error", "mode", "capture", "downtime_ms", "total_ms", "pages", "bytes",
          "demand", "guide", "next", "hot", "measured", "simulated", "qemu", "kernel"})
        EXPECT_TRUE(json.contains(key)) << key;
    EXPECT_EQ(json.at("demand").at("histogram_us").size(), 24U);
    EXPECT_EQ(json.at("demand").at("timeline").at("step_ms"), 100);
    EXPECT_EQ(json.at("pages").at("guide"), 3);
    EXPECT_EQ(json.at("guide").at("ended"), "off");
    EXPECT_EQ(json.at("next"), (nlohmann::json{{"pages", 16}, {"sent", 7}}));
    EXPECT_EQ(json.at("guide").at("sent").at("dropped_by"), "none");
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
    report.mode = "guide";
    report.pages = {.total = 1000, .guide = 250, .background = 750};
    report.guide.started = true;
    report.guide.pushed = 250;
    report.guide.sent.packets = 17;
    report.guide.ended = "died";
    report.guide.reason = "killed by signal 9";
    const std::string text = report.summary();
    EXPECT_NE(text.find("17 packets into its quarantine"), std::string::npos) << text;
    EXPECT_NE(text.find("25.0 %"), std::string::npos) << text;
    EXPECT_NE(text.find("died, killed by signal 9"), std::string::npos) << text;
}

TEST(Summary, TellsWhatWasSentAfterDemandFaults) {
    Report report;
    EXPECT_EQ(report.summary().find("after demand faults"), std::string::npos) << "it was off";
    report.next = {16, 7};
    EXPECT_NE(report.summary().find("of the warm 7 were sent ahead after demand faults, 16 after "
                                    "each"),
              std::string::npos)
        << report.summary();
}

TEST(Summary, TellsWhatWasMeasured) {
    Report report;
    EXPECT_EQ(report.summary().find("measured"), std::string::npos) << "nothing was";
    report.measured = MeasureReport{.time_ms = 12'300,
                                    .touched = {.total = 4321},
                                    .asked = 43,
                                    .coverage = 0.99,
                                    .accuracy = {},
                                    .waste_bytes = 3 << 19};
    EXPECT_NE(report.summary().find("measured for 12.3 s: 4321 pages touched, coverage 99.0 %, "
                                    "accuracy -, waste 1.5 MiB"),
              std::string::npos)
        << report.summary();
    EXPECT_TRUE(report.to_json().at("measured").at("accuracy").is_null());
}

TEST(Summary, SaysThatItIsSimulated) {
    Report report;
    EXPECT_EQ(report.summary().find("simulated"), std::string::npos) << "it is not";
    report.simulated = SimulatedReport{.trace = "vm.trace",
                                       .trace_ms = 2500,
                                       .link = 1'250'000'000,
                                       .rtt_us = 50,
                                       .vms = 3,
                                       .vcpus = 6,
                                       .memory_bytes = std::uint64_t{8} << 30,
                                       .touched = 1234,
                                       .waited_ms = 1.25};
    const std::string text = report.summary();
    EXPECT_EQ(text.find("simulated post-copy: failed"), 0U) << text;
    EXPECT_NE(text.find("nothing was moved; 3 VM(s) of 8.0 GiB, 6 vCPUs together, each touches "
                        "1234 pages in 2.5 s of vm.trace"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("link 10.00 Gbit/s, round trip 50 us"), std::string::npos) << text;
    EXPECT_EQ(report.to_json().at("simulated").at("link"), 1'250'000'000);
}

TEST(Report, ThePolicyHasItsClassesByName) {
    Report report;
    EXPECT_EQ(report.to_json()["policy"]["name"], "none");
    EXPECT_EQ(report.summary().find("policy:"), std::string::npos);
    report.policy = {.name = "silent",
                     .device = "eth0",
                     .joined = true,
                     .reason = "",
                     .classes = {},
                     .tenants = {}};
    report.policy.classes.emplace_back("guide", TrafficCounts{.packets = 3,
                                                              .bytes = 4500,
                                                              .drops = 1,
                                                              .delayed = 2,
                                                              .delay_ms = 5,
                                                              .delay_max_ms = 4});
    report.policy.tenants.bytes = 3 << 20;
    const nlohmann::json policy = report.to_json()["policy"];
    EXPECT_EQ(policy["device"], "eth0");
    EXPECT_EQ(policy["joined"], true);
    EXPECT_EQ(policy["classes"]["guide"]["bytes"], 4500);
    EXPECT_EQ(policy["classes"]["guide"]["drops"], 1);
    EXPECT_EQ(policy["tenants"]["bytes"], 3 << 20);
    EXPECT_NE(report.summary().find("policy: silent on eth0; others sent 3.0 MiB; 2 packets held "
                                    "back, 2.5 ms on average, 1 dropped"),
              std::string::npos)
        << report.summary();
}

}  // namespace
}  // namespace gc::report

// SPDX-License-Identifier: GPL-2.0-or-later
#include "metrics/exposition.h"

#include "metrics/families.h"
#include "metrics/file.h"
#include "metrics/migration.h"
#include "util/whole_file.h"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace gc::metrics {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Family requests{"requests_total", Type::counter, "Requests, by \\ and more."};
constexpr Family delay{"delay_seconds", Type::histogram, "Delays."};
constexpr Family level{"level", Type::gauge, "The level."};
constexpr std::array bounds{0.5, 1.0};

TEST(Exposition, HasTypesHelpAndValues) {
    Exposition metrics;
    metrics.add(requests, {{"code", "200"}}, 2);
    metrics.add(requests, {{"code", "200"}}, 1);
    metrics.add(requests, {}, 0);
    metrics.set(level, {}, 0.25);
    EXPECT_EQ(metrics.text(), "# HELP requests_total Requests, by \\\\ and more.\n"
                              "# TYPE requests_total counter\n"
                              "requests_total{code=\"200\"} 3\n"
                              "requests_total 0\n"
                              "# HELP level The level.\n"
                              "# TYPE level gauge\n"
                              "level 0.25\n");
    EXPECT_EQ(metrics.value(requests, {{"code", "200"}}), 3);
    EXPECT_EQ(metrics.value(requests, {{"code", "404"}}), 0);
}

TEST(Exposition, BucketsCountWhatIsInSmallerOnes) {
    Exposition metrics;
    for (const double value : {0.25, 0.5, 0.75, 9.0})
        metrics.observe(delay, {{"role", "x"}}, bounds, value);
    EXPECT_THAT(metrics.text(), HasSubstr("# TYPE delay_seconds histogram\n"
                                          "delay_seconds_bucket{role=\"x\",le=\"0.5\"} 2\n"
                                          "delay_seconds_bucket{role=\"x\",le=\"1\"} 3\n"
                                          "delay_seconds_bucket{role=\"x\",le=\"+Inf\"} 4\n"
                                          "delay_seconds_sum{role=\"x\"} 10.5\n"
                                          "delay_seconds_count{role=\"x\"} 4\n"));
}

TEST(Exposition, ReadsWhatItWrites) {
    Exposition metrics;
    metrics.add(requests, {{"path", "a \"b\\c\"\n}"}, {"code", "200"}}, 1e15);
    metrics.observe(delay, {}, bounds, 0.1);
    metrics.set(level, {}, -1.5e-9);
    auto read = Exposition::parse(metrics.text());
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->text(), metrics.text());
    // And goes on from there.
    read->add(requests, {{"path", "a \"b\\c\"\n}"}, {"code", "200"}}, 1);
    read->observe(delay, {}, bounds, 0.1);
    EXPECT_EQ(read->value(requests, {{"path", "a \"b\\c\"\n}"}, {"code", "200"}}), 1e15 + 1);
    EXPECT_THAT(read->text(), HasSubstr("delay_seconds_count 2\n"));
    EXPECT_THAT(read->text(), HasSubstr("delay_seconds_bucket{le=\"0.5\"} 2\n"));
}

TEST(Exposition, ReadsWhatOthersWrite) {
    const auto read = Exposition::parse("# a comment\n\n"
                                        "# TYPE up untyped\nup NaN 1395066363000\n"
                                        "lonely{a=\"}\",b=\"\\\"\"} +Inf\n"
                                        "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\n");
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->text(), "# TYPE up untyped\nup NaN\n"
                            "# TYPE lonely untyped\nlonely{a=\"}\",b=\"\\\"\"} +Inf\n"
                            "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\n");
}

TEST(Exposition, RefusesWhatIsNoMetric) {
    for (const char* text :
         {"hello", "hello world", "{a=\"b\"} 1", "x{a=\"b\" 1", "x{a=\"b} 1", "x{a=\"b\"}1", "x 1e",
          "x ", "# TYPE x kind", "# TYPE 1x counter", "# HELP", "{\"json\": 1}", "1x 1"}) {
        const auto read = Exposition::parse(text);
        ASSERT_FALSE(read) << text;
        EXPECT_THAT(read.error().message, HasSubstr("line 1: ")) << text;
    }
}

TEST(Exposition, RemovesByLabel) {
    Exposition metrics;
    metrics.set(level, {{"a", "1"}, {"b", "2"}}, 1);
    metrics.set(level, {{"a", "2"}, {"b", "1"}}, 2);
    metrics.set(level, {{"a", "2"}, {"b", "2"}}, 3);
    metrics.remove(level, "b", "2");
    EXPECT_THAT(metrics.text(), HasSubstr("level{a=\"2\",b=\"1\"} 2\n"));
    EXPECT_THAT(metrics.text(), Not(HasSubstr("b=\"2\"")));
}

report::Report completed() {
    report::Report report;
    report.result = report::Outcome::completed;
    report.total_ms = 2000;
    report.downtime_ms = 20;
    report.bytes.in[ledger::PageClass::urgent] = 4096;
    report.bytes.total = 8192;
    report.demand.faults = 3;
    report.demand.stall_ms = 1.5;
    report.demand.histogram_us[0] = 1;
    report.demand.histogram_us[9] = 2;
    return report;
}

TEST(MigrationMetrics, AddUp) {
    Exposition metrics;
    const std::chrono::system_clock::time_point end{std::chrono::seconds(1000)};
    count_migration(metrics, completed(), std::nullopt, end);
    count_migration(metrics, completed(), std::nullopt, end);
    count_migration(metrics, {}, ErrorKind::unsupported, end + std::chrono::seconds(5));
    EXPECT_EQ(metrics.value(migrations, {{"role", "source"}, {"result", "completed"}}), 2);
    EXPECT_EQ(metrics.value(migrations, {{"role", "source"}, {"result", "refused"}}), 1);
    EXPECT_EQ(metrics.value(sent_bytes, {{"class", "urgent"}}), 8192);
    EXPECT_EQ(metrics.value(last_success, {{"role", "source"}}), 0);
    EXPECT_EQ(metrics.value(last_end, {{"role", "source"}}), 1005);
    const std::string text = metrics.text();
    EXPECT_THAT(text, HasSubstr("result=\"needs-operator\"} 0\n"));
    EXPECT_THAT(text, HasSubstr("guidecopy_migration_duration_seconds_count{role=\"source\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("guidecopy_migration_downtime_seconds_bucket{le=\"0.01\"} 0\n"
                                "guidecopy_migration_downtime_seconds_bucket{le=\"0.025\"} 2\n"));
    EXPECT_THAT(text,
                HasSubstr("guidecopy_demand_stall_seconds_bucket{role=\"source\",le=\"2e-06\"} 2"));
    EXPECT_THAT(
        text,
        HasSubstr("guidecopy_demand_stall_seconds_bucket{role=\"source\",le=\"0.001024\"} 6"));
    EXPECT_THAT(text, HasSubstr("guidecopy_demand_stall_seconds_sum{role=\"source\"} 0.003\n"));
    EXPECT_TRUE(Exposition::parse(text));
}

TEST(MigrationMetrics, OfBothEndsAreApart) {
    Exposition metrics;
    count_migration(metrics, completed(), std::nullopt, {});
    count_received(metrics, {.failure = ErrorKind::io, .duration = {}, .demand = {}, .end = {}});
    EXPECT_EQ(metrics.value(migrations, {{"role", "source"}, {"result", "failed"}}), 0);
    EXPECT_EQ(metrics.value(migrations, {{"role", "destination"}, {"result", "failed"}}), 1);
    EXPECT_EQ(metrics.value(last_success, {{"role", "source"}}), 1);
    EXPECT_EQ(metrics.value(last_success, {{"role", "destination"}}), 0);
}

TEST(MigrationMetrics, FollowTheConventionsForNames) {
    std::set<std::string_view> names;
    for (const Family& family : all_families) {
        EXPECT_TRUE(names.insert(family.name).second) << family.name;
        EXPECT_TRUE(family.name.starts_with("guidecopy_")) << family.name;
        EXPECT_EQ(family.type == Type::counter, family.name.ends_with("_total")) << family.name;
        EXPECT_EQ(family.name.find("_ms"), std::string_view::npos) << family.name;
        EXPECT_TRUE(family.help.ends_with('.') && family.help.find('\n') == std::string_view::npos);
    }
}

TEST(MigrationMetrics, AreInTheReference) {
    EXPECT_EQ(read_whole_file(GC_DOCS "/reference/metrics.md").value(), reference_page())
        << "gcctl help --metrics >docs/reference/metrics.md";
}

class MetricsFile : public testing::Test {
  protected:
    MetricsFile() { EXPECT_NE(::mkdtemp(directory_.data()), nullptr); }
    ~MetricsFile() override { std::filesystem::remove_all(directory_); }

    std::string directory_ = "/tmp/gc-metrics-XXXXXX";
    std::string path_ = directory_ + "/gcctl.prom";
    void SetUp() override { path_ = directory_ + "/gcctl.prom"; }
};

TEST_F(MetricsFile, IsChangedAndCanBeReadByAll) {
    const mode_t before = ::umask(077);
    for (int i = 0; i < 2; ++i)
        ASSERT_TRUE(update(path_, [](Exposition& metrics) { metrics.add(requests, {}, 1); }));
    ::umask(before);
    EXPECT_THAT(read_whole_file(path_).value(), HasSubstr("requests_total 2\n"));
    struct stat status {};
    ASSERT_EQ(::stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0644U);
}

TEST_F(MetricsFile, LosesNothingToOthersWhoWriteIt) {
    constexpr int times = 50;
    const auto work = [&] {
        for (int i = 0; i < times; ++i)
            EXPECT_TRUE(update(path_, [](Exposition& metrics) { metrics.add(requests, {}, 1); }));
    };
    std::thread other(work);
    work();
    other.join();
    EXPECT_THAT(read_whole_file(path_).value(),
                HasSubstr(fmt::format("requests_total {}\n", 2 * times)));
}

TEST_F(MetricsFile, OfAnotherKindIsRefusedAndKept) {
    std::ofstream(path_) << "{\"a\": 1}\n";
    const auto checked = check(path_);
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().kind, ErrorKind::unsupported);
    EXPECT_THAT(checked.error().message, HasSubstr(path_ + ": line 1: "));
    EXPECT_EQ(read_whole_file(path_).value(), "{\"a\": 1}\n");
}

TEST_F(MetricsFile, NeedsADirectory) {
    EXPECT_EQ(check(directory_ + "/no/such/file.prom").error().kind, ErrorKind::unsupported);
    EXPECT_TRUE(check(path_));
}

}  // namespace
}  // namespace gc::metrics

// SPDX-License-Identifier: GPL-2.0-or-later
#include "evacuate/mover.h"

#include "evacuate/metrics.h"
#include "metrics/families.h"
#include "migrate/command.h"

#include <gtest/gtest.h>

namespace gc::evacuate {
namespace {

std::vector<std::string> arguments(const Options& options, std::uint64_t bandwidth) {
    const Vm vm{.name = "web", .uuid = "1234-5678", .unfit = {}, .unfit_for = {}};
    const Host host{.uri = "qemu+ssh://host2/system", .ports = {}};
    return migrate_arguments(options, vm, host, {"2001:db8::2", "4444"}, bandwidth, "/tmp/r.json");
}

TEST(EvacuationMove, IsACommandLineOfMigrate) {
    Options options;
    options.connect = "qemu:///system";
    options.metrics_file = "/tmp/m.prom";
    options.migrate = {"--guide=off", "--insecure", "--persistent"};
    std::vector<std::string> line = arguments(options, 12345);
    EXPECT_EQ(line.front(), "migrate");
    line.erase(line.begin());
    const auto parsed = migrate::parse(line);
    ASSERT_TRUE(parsed) << parsed.error().message;
    const migrate::Options& given = **parsed;
    EXPECT_EQ(given.libvirt->connect, "qemu:///system");
    EXPECT_EQ(given.libvirt->domain, "1234-5678");
    EXPECT_EQ(given.libvirt->destination_uri, "qemu+ssh://host2/system");
    EXPECT_TRUE(given.libvirt->persistent);
    EXPECT_EQ(given.to.host, "2001:db8::2");
    EXPECT_EQ(given.bandwidth, 12345U);
    EXPECT_EQ(given.report, "/tmp/r.json");
    EXPECT_EQ(given.metrics_file, "/tmp/m.prom");
    EXPECT_FALSE(given.guide);
    EXPECT_EQ(given.output, migrate::Output::json);
}

TEST(EvacuationMove, WithoutABudgetHasNoLimit) {
    for (const std::string& word : arguments({}, 0))
        EXPECT_NE(word, "--bandwidth");
}

TEST(EvacuationMetrics, AreThoseOfTheLastOne) {
    const std::chrono::system_clock::time_point begin{std::chrono::seconds(100)};
    Outcome outcome;
    outcome.vms = {
        {.name = "a", .uuid = {}, .memory = 10, .to = {}, .fate = Fate::moved, .error = {}},
        {.name = "b", .uuid = {}, .memory = 20, .to = {}, .error = {}},
        {.name = "c", .uuid = {}, .memory = 40, .to = {}, .error = {}}};
    metrics::Exposition exposition;
    const auto vms = [&](std::string_view state) {
        return exposition.value(metrics::evacuation_vms, {{"state", state}});
    };
    show(exposition, outcome, 1, begin, {});
    EXPECT_EQ(vms("moved"), 1);
    EXPECT_EQ(vms("moving"), 1);
    EXPECT_EQ(vms("waiting"), 1);
    EXPECT_EQ(exposition.value(metrics::evacuation_memory, {}), 60);
    EXPECT_EQ(exposition.value(metrics::evacuation_begin, {}), 100);
    EXPECT_EQ(exposition.value(metrics::evacuation_end, {}), 0);
    EXPECT_EQ(exposition.value(metrics::evacuations, {{"result", "failed"}}), 0);
    outcome.vms[1].fate = Fate::moved;
    outcome.vms[2].fate = Fate::refused;
    for (int times = 0; times < 2; ++times)
        show(exposition, outcome, 0, begin, begin + std::chrono::seconds(7));
    EXPECT_EQ(vms("moved"), 2);
    EXPECT_EQ(vms("moving"), 0);
    EXPECT_EQ(vms("refused"), 1);
    EXPECT_EQ(exposition.value(metrics::evacuation_memory, {}), 40);
    EXPECT_EQ(exposition.value(metrics::evacuation_end, {}), 107);
    EXPECT_EQ(exposition.value(metrics::evacuations, {{"result", "failed"}}), 2);
    EXPECT_EQ(exposition.value(metrics::evacuations, {{"result", "completed"}}), 0);
}

}  // namespace
}  // namespace gc::evacuate

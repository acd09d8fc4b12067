// SPDX-License-Identifier: GPL-2.0-or-later
#include "html_report/input.h"
#include "simulate/account.h"
#include "simulate/command.h"
#include "trace/command.h"
#include "trace/writer.h"

#include <array>
#include <chrono>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

namespace gc::simulate {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

void expect_refused(std::vector<std::string> arguments, std::string_view says) {
    arguments.insert(arguments.begin(), "vm.trace");
    const auto options = parse(arguments);
    ASSERT_FALSE(options) << says;
    EXPECT_EQ(options.error().kind, ErrorKind::usage);
    EXPECT_THAT(options.error().message, HasSubstr(says));
}

Options options_of(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "vm.trace");
    const auto options = parse(arguments);
    return options && *options ? **options : Options{};
}

TEST(SimulateOptions, HaveDefaults) {
    const Options options = options_of({});
    EXPECT_EQ(options.trace, "vm.trace");
    EXPECT_EQ(options.link, 1'250'000'000U);
    EXPECT_EQ(options.policy, "silent");
    EXPECT_EQ(options.scenario.rtt, 50us);
    EXPECT_TRUE(options.scenario.guide);
    EXPECT_EQ(options.scenario.lead, 4096U);
    EXPECT_FALSE(options.scenario.downtime);
}
TEST(SimulateOptions, OfOneOrNoTrace) {
    EXPECT_FALSE(parse(std::vector<std::string>{}));
    expect_refused({"other.trace"}, "see gcctl simulate --help");
}
TEST(SimulateOptions, WithABadRate) {
    expect_refused({"--link", "fast"}, "--link: invalid rate 'fast'");
    expect_refused({"--tenants", "0"}, "--tenants: invalid rate '0'");
    expect_refused({"--bandwidth", "1X"}, "--bandwidth: invalid rate '1X'");
}
TEST(SimulateOptions, WithABadTime) {
    for (const char* name : {"rtt", "at", "queue", "stagger", "downtime", "fault-cost",
                             "serve-cost", "install-cost", "capture-cost", "load-cost"})
        expect_refused({fmt::format("--{}", name), "soon"},
                       fmt::format("--{}: invalid duration 'soon'", name));
}
TEST(SimulateOptions, WithABadSize) {
    expect_refused({"--memory", "big"}, "invalid size 'big'");
    expect_refused({"--memory", "100"}, "--memory is too small (expected at least 4 KiB)");
    expect_refused({"--memory", "17T"}, "--memory is too large (expected at most 16 TiB)");
    expect_refused({"--burst", "big"}, "invalid size 'big'");
    expect_refused({"--zeros", "101%"}, "--zeros is too large (expected at most 100%)");
    expect_refused({"--zeros", "some"}, "invalid percentage 'some'");
}
TEST(SimulateOptions, WithABadCount) {
    expect_refused({"--vms", "0"}, "--vms: invalid number '0' (expected 1 to 1000)");
    expect_refused({"--vms", "-1"}, "--vms: invalid number '-1' (expected 1 to 1000)");
    expect_refused({"--load", "0"}, "--load: invalid number '0' (expected 1 to");
    expect_refused({"--lead", "0"}, "--lead: invalid number '0' (expected 1 to");
    expect_refused({"--lead", "far"}, "see gcctl simulate --help");
}
TEST(SimulateOptions, WithABadSpeed) {
    for (const char* speed : {"0", "-1", "nan", "1e9"})
        expect_refused(
            {"--speed", speed},
            fmt::format("--speed: invalid number '{}' (expected 0.001 to 1000000)", speed));
}
TEST(SimulateOptions, WithABadWord) {
    expect_refused({"--guide", "maybe"}, "invalid --guide 'maybe' (expected on or off)");
    expect_refused({"--guide-copy", "on"}, "see gcctl simulate --help");
}
TEST(SimulateOptions, WithAPolicyThatThereIsNot) {
    const auto options = parse(std::vector<std::string>{"vm.trace", "--policy", "/nowhere"});
    ASSERT_FALSE(options);
    EXPECT_THAT(options.error().message, HasSubstr("/nowhere"));
}

TEST(SimulateOptions, WhatThePolicyLeaves) {
    const auto silent = options_of({"--link", "1G", "--tenants", "512M"}).scenario;
    constexpr double link = 1 << 30;
    EXPECT_TRUE(silent.by_class);
    EXPECT_NEAR(silent.background_rate, link * (0.95 - 0.5 * 1.25), 2);
    EXPECT_NEAR(silent.link, link / 2, 2);
    const auto full = options_of({"--link", "1G", "--tenants", "1G"}).scenario;
    EXPECT_NEAR(full.background_rate, link * 0.0025, 2) << "its floor";
    EXPECT_NEAR(full.guide_rate, link * 0.01, 2);
    const auto none = options_of({"--link", "1G", "--policy", "none"}).scenario;
    EXPECT_FALSE(none.by_class);
    EXPECT_NEAR(none.background_rate, link, 2);
}

/// A trace in a file.
class Simulate : public testing::Test {
  protected:
    Simulate() : path_(fmt::format("{}simulate-{}", testing::TempDir(), ::getpid())) {}
    ~Simulate() override { ::unlink(path_.c_str()); }

    void write(trace::Mode mode) const {
        trace::Buffer bytes;
        trace::append_header(bytes, {mode, 0, {{"ram", 4 << 20, 4096}}});
        trace::Epoch epoch{.length_us = 1'000'000, .touches = {}};
        epoch.add({.page = 7, .vcpu = 0});
        trace::append_epoch(bytes, epoch);
        trace::append_end(bytes, 1);
        std::ofstream(path_).write(reinterpret_cast<const char*>(bytes.data()),
                                   static_cast<std::streamsize>(bytes.size()));
    }
    /// Runs it and checks its exit status. @return its output
    std::string output(int status, std::vector<std::string> more = {}) const {
        more.insert(more.begin(), path_);
        testing::internal::CaptureStdout();
        testing::internal::CaptureStderr();
        EXPECT_EQ(command(more), status);
        const std::string said = testing::internal::GetCapturedStderr();
        return testing::internal::GetCapturedStdout() + said;
    }

    const std::string path_;
};

TEST_F(Simulate, SaysThatItIsSimulated) {
    write(trace::Mode::order);
    const std::string said = output(0);
    EXPECT_THAT(said, HasSubstr("simulated guide-copy: completed"));
    EXPECT_THAT(said, HasSubstr("simulated: nothing was moved"));
}
/// One RAM block of 16 TiB, one run of all its pages: such a file once took 4.4 GiB of memory.
TEST_F(Simulate, ATraceOfAFewBytesTakesLittleMemory) {
    trace::Buffer bytes;
    trace::append_header(bytes, {trace::Mode::order, 0, {{"ram", std::uint64_t{1} << 44, 4096}}});
    trace::Epoch epoch{.length_us = 1'000'000, .touches = {}};
    epoch.add({.page = 0, .count = std::uint64_t{1} << 32, .vcpu = 0});
    trace::append_epoch(bytes, epoch);
    trace::append_end(bytes, 1);
    ASSERT_LE(bytes.size(), 60U);
    std::ofstream(path_).write(reinterpret_cast<const char*>(bytes.data()),
                               static_cast<std::streamsize>(bytes.size()));
    rusage before{};
    ::getrusage(RUSAGE_SELF, &before);
    const auto begun = std::chrono::steady_clock::now();
    EXPECT_THAT(output(2), HasSubstr("4294967296 pages at once"));
    testing::internal::CaptureStdout();
    EXPECT_EQ(trace::command(std::array{path_}), 0);
    EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("4294967296 pages"));
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 1s);
    rusage after{};
    ::getrusage(RUSAGE_SELF, &after);
    EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 100 * 1024) << "KiB";
}

TEST_F(Simulate, PrintsAReportThatAPageCanBeMadeOf) {
    write(trace::Mode::order);
    const auto report = html_report::read_input(output(0, {"--json"}));
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ((*report)["schema"], "guidecopy.report/1");
    EXPECT_EQ((*report)["simulated"]["memory_bytes"], 4 << 20);
    EXPECT_EQ((*report)["pages"]["total"], 1024);
}
TEST_F(Simulate, ATraceWithoutOrder) {
    write(trace::Mode::age);
    EXPECT_THAT(output(2), HasSubstr("gcctl record --mode order"));
}
TEST_F(Simulate, NoTrace) {
    EXPECT_THAT(output(1), HasSubstr("gcctl simulate: open " + path_));
    std::ofstream(path_) << "nonsense";
    EXPECT_THAT(output(1), HasSubstr("expected the magic"));
}

}  // namespace
}  // namespace gc::simulate

// SPDX-License-Identifier: GPL-2.0-or-later
// Policies in the user's form: which are valid, the errors for invalid ones, and the kernel's
// configuration.
#include "policy/policy.h"
#include "policy/policy_file.h"
#include "policy/policy_text.h"
#include "util/whole_file.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>

namespace gc::policy {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::uint64_t gigabit = 125'000'000;

std::string refusal(std::string_view text) {
    const auto policy = parse_policy(text, "my.toml");
    if (policy)
        return "it was taken";
    EXPECT_EQ(policy.error().kind, ErrorKind::usage);
    return policy.error().message;
}

TEST(PolicyFile, AllThatItCanSay) {
    const Policy policy = parse_policy(R"(
link = "10gbit"
use = "9gbit"
mark = 0x100
horizon = "500ms"
[tenants]
yield = false
window = "2ms"
decay = "30ms"
headroom = "50%"
[class.urgent]
paced = false
dscp = "EF"
[class.guide]
weight = 7
floor = "1%"
cap = "5gbit"
dscp = 10
[class.background]
dscp = "keep"
)",
                                       "my.toml")
                              .value();
    EXPECT_EQ(policy.name, "my.toml");
    EXPECT_EQ(policy.link_bytes_per_s, 10 * gigabit);
    EXPECT_EQ(policy.use, (Rate{false, 9 * gigabit, 0}));
    EXPECT_EQ(policy.mark, 0x100U);
    EXPECT_EQ(policy.horizon, 500ms);
    EXPECT_FALSE(policy.yield);
    EXPECT_EQ(policy.window, 2ms);
    EXPECT_EQ(policy.decay, 30ms);
    EXPECT_DOUBLE_EQ(policy.headroom, 0.5);
    EXPECT_FALSE(policy.classes[GC_URGENT].paced);
    EXPECT_EQ(policy.classes[GC_URGENT].dscp, 46);
    EXPECT_EQ(policy.classes[GC_GUIDE].weight, 7U);
    EXPECT_EQ(policy.classes[GC_GUIDE].floor, (Rate{true, 0, 0.01}));
    EXPECT_EQ(policy.classes[GC_GUIDE].cap, (Rate{false, 5 * gigabit, 0}));
    EXPECT_EQ(policy.classes[GC_GUIDE].dscp, 10);
    EXPECT_EQ(policy.classes[GC_BACKGROUND].dscp, std::nullopt);
    EXPECT_EQ(policy.classes[GC_WARM], ClassPolicy{}) << "what is not said is as by default";
}

TEST(PolicyFile, AnEmptyOneIsTheDefault) {
    const Policy policy = parse_policy("", "my.toml").value();
    EXPECT_EQ(policy.mark, Policy{}.mark);
    EXPECT_EQ(policy.classes, Policy{}.classes);
}

TEST(PolicyFile, AMistakeIsToldWithItsLine) {
    EXPECT_THAT(
        refusal("\n\n[tenants]\nwindow = \"long\"\n"),
        StartsWith(
            "my.toml:4: tenants.window: invalid duration 'long' (expected e.g. 10ms, 500us)"));
}

TEST(PolicyFile, TheFirstMistakeIsTold) {
    EXPECT_THAT(refusal("use = \"x\"\nhorizon = \"y\"\n"), StartsWith("my.toml:1: use:"));
    EXPECT_THAT(refusal("horizon = \"y\"\nuse = \"x\"\n"), StartsWith("my.toml:1: horizon:"));
}

TEST(PolicyFile, NoToml) {
    EXPECT_THAT(refusal("use = \"95%\"\nlink = = 3\n"), StartsWith("my.toml:2: "));
    EXPECT_THAT(refusal("\xff\xfe\n"), StartsWith("my.toml:1: "));
}

TEST(PolicyFile, AKeyTwice) {
    EXPECT_THAT(refusal("use = \"95%\"\nuse = \"96%\"\n"), StartsWith("my.toml:2: "));
}

TEST(PolicyFile, AnUnknownKeyIsAnsweredWithThoseThatThereAre) {
    EXPECT_EQ(refusal("uses = \"95%\""), "my.toml:1: unknown key uses (expected one of: link, "
                                         "use, mark, horizon)");
    EXPECT_THAT(refusal("[tenants]\nheadrom = \"5%\""),
                HasSubstr("unknown key tenants.headrom (expected one of: tenants.yield, "));
    EXPECT_THAT(refusal("[class.guide]\nrate = 5"),
                HasSubstr("unknown key class.guide.rate (expected one of: class.guide.paced, "));
}

TEST(PolicyFile, AnUnknownClass) {
    EXPECT_THAT(refusal("[class.bulk]\nweight = 5"),
                HasSubstr("my.toml:1: unknown class 'bulk' (expected urgent, guide, warm"));
}

TEST(PolicyFile, AnUnknownClassThatHoldsNothing) {
    EXPECT_THAT(refusal("[class.bulk]"), StartsWith("my.toml:1: unknown class 'bulk'"));
    EXPECT_THAT(refusal("class.bulk = {}"), StartsWith("my.toml:1: unknown class 'bulk'"));
}

TEST(PolicyFile, AnUnknownSectionIsAnsweredWithThoseThatThereAre) {
    EXPECT_THAT(refusal("\n[tenant]\nyield = true"),
                StartsWith("my.toml:2: unknown section [tenant] (expected [tenants], "));
    EXPECT_THAT(refusal("[classes.guide]\nweight = 3"), HasSubstr("unknown section [classes]"));
    EXPECT_THAT(refusal("[tenant]"), HasSubstr("unknown section [tenant]"));
}

TEST(PolicyFile, AKeyTwiceOnceInQuotes) {
    EXPECT_THAT(refusal("\"class.guide.weight\" = 5\n[class.guide]\nweight = 6"),
                StartsWith("my.toml:1: \"class.guide.weight\": expected a key without dots"));
    EXPECT_THAT(refusal("[class]\n\"guide.weight\" = 5"),
                StartsWith("my.toml:2: class.\"guide.weight\": expected a key without dots"));
}

TEST(PolicyFile, AGroupWhereAValueBelongsAndTheOtherWay) {
    EXPECT_THAT(refusal("[use]\nx = 1"), StartsWith("my.toml:1: unknown section [use]"));
    EXPECT_THAT(refusal("[class.guide.cap]\nx = 1"), HasSubstr("guide.cap: expected a string"));
    EXPECT_THAT(refusal("tenants = 5"), HasSubstr("unknown key tenants"));
    EXPECT_THAT(refusal("[class]\nguide = 5"), HasSubstr("class.guide."));
}

TEST(PolicyFile, AValueOfAnotherType) {
    EXPECT_THAT(refusal("horizon = 1979-05-27"), HasSubstr("horizon: expected a string"));
    EXPECT_THAT(refusal("link = [1]"), HasSubstr("link: expected a string"));
    EXPECT_THAT(refusal("[class.guide]\nweight = 0.5"), HasSubstr("weight: expected a string"));
}

TEST(PolicyFile, RatesAreRatesOrShares) {
    for (const char* bad : {"5 mbit", "-1mbit", "0", "101%", "%", "fast", ""})
        EXPECT_THAT(refusal(fmt::format("use = \"{}\"", bad)), StartsWith("my.toml:1: use:"))
            << bad;
    EXPECT_THAT(refusal("link = \"50%\""), HasSubstr("link: invalid rate '50%'"));
}

TEST(PolicyFile, DurationsHaveBounds) {
    EXPECT_THAT(refusal("[tenants]\nwindow = \"1us\""),
                HasSubstr("window: invalid duration '1us' (expected 100 us to"));
    EXPECT_THAT(refusal("[tenants]\nwindow = \"2s\""),
                HasSubstr("window: invalid duration '2s' (expected 100 us to"));
    EXPECT_THAT(refusal("horizon = \"11s\""),
                HasSubstr("horizon: invalid duration '11s' (expected 100 us to"));
}

TEST(PolicyFile, WeightsHaveBounds) {
    for (const char* bad : {"0", "-1", "65536", "4294967297"})
        EXPECT_THAT(refusal(fmt::format("[class.warm]\nweight = {}", bad)),
                    HasSubstr("(expected 1 to 65535)"))
            << bad;
}

TEST(PolicyFile, CodePoints) {
    for (const char* bad : {"64", "-1", "AF44", "le", ""})
        EXPECT_THAT(refusal(fmt::format("[class.warm]\ndscp = \"{}\"", bad)),
                    HasSubstr("invalid DSCP"))
            << bad;
}

TEST(PolicyFile, MarksThatWouldTakeOthersPackets) {
    EXPECT_THAT(refusal("mark = 0"), HasSubstr("mark: invalid number '0' (expected 1 to"));
    EXPECT_THAT(refusal("mark = 0xfffffffe"), HasSubstr("mark:"));
}

TEST(PolicyFile, AFloorAboveItsCap) {
    EXPECT_THAT(refusal("[class.guide]\nfloor = \"20%\"\ncap = \"10%\""),
                HasSubstr("class.guide: the floor is above the cap"));
    EXPECT_THAT(refusal("\n\n[class.warm]\ncap = \"10%\"\nfloor = \"20%\"\n[class.guide]"),
                StartsWith("my.toml:3: class.warm: the floor"));
    EXPECT_THAT(refusal("\nclass.warm.cap = \"10%\"\nclass.warm.floor = \"20%\""),
                StartsWith("my.toml:2: class.warm: the floor"));
}

TEST(PolicyText, WhatIsToldMakesTheSamePolicyAgain) {
    Policy odd = Policy::named("silent").value();
    for (const char* assignment :
         {"use=123456789", "mark=0x100", "horizon=1234567us", "tenants.yield=false",
          "tenants.window=1234us", "tenants.decay=2s", "tenants.headroom=12.5%",
          "class.urgent.dscp=7", "class.guide.dscp=keep", "class.guide.floor=64kbit",
          "class.warm.paced=false", "class.warm.cap=1gbit", "class.background.weight=65535"})
        EXPECT_TRUE(odd.set(assignment)) << assignment;
    for (const Policy& policy :
         {Policy::named("silent").value(), Policy::named("fast").value(), odd}) {
        Policy again;
        for (const auto& [key, value] : values_of(policy))
            EXPECT_TRUE(again.set(key + "=" + value)) << key << "=" << value;
        EXPECT_EQ(values_of(again), values_of(policy));
        EXPECT_EQ(again.classes, policy.classes);
        EXPECT_EQ(again.use, policy.use);
        EXPECT_EQ(again.window, policy.window);
    }
}

TEST(PolicyFile, Files) {
    const std::string directory = testing::TempDir();
    EXPECT_EQ(Policy::load(directory + "/none.toml").error().kind, ErrorKind::usage);
    EXPECT_EQ(Policy::load(directory).error().kind, ErrorKind::usage);
    const std::string path = directory + "/policy_test.toml";
    std::ofstream(path) << "use = \"80%\"";
    EXPECT_DOUBLE_EQ(Policy::find(path).value().use.share, 0.8);
    std::ofstream(path) << std::string(100'000, '#');
    EXPECT_THAT(Policy::load(path).error().message, HasSubstr("expected at most 16384 bytes"));
    std::filesystem::remove(path);
}

/// The deepest tables that a file can contain: toml++ limits nested values, but not the dots of a
/// key.
TEST(PolicyFile, TablesAsDeepAsAFileIsLong) {
    const std::string path = testing::TempDir() + "/policy_deep.toml";
    for (const std::size_t size : {std::size_t{16} * 1024, std::size_t{64} * 1024}) {
        std::string key = "a";
        while (key.size() + 4 <= size)
            key += ".a";
        for (const std::string& text : {key + "=1", "[" + key.substr(2) + "]"}) {
            std::ofstream(path) << text;
            const auto policy = Policy::load(path);
            ASSERT_FALSE(policy);
            EXPECT_EQ(policy.error().kind, ErrorKind::usage);
        }
    }
    std::filesystem::remove(path);
}

/// However a file is mutated, it is either a policy that the kernel accepts, or a usage error.
TEST(PolicyFile, SurvivesWhateverIsDoneToIt) {
    const std::string good = read_whole_file(GC_POLICIES "/silent.toml").value();
    ASSERT_TRUE(parse_policy(good, "silent"));
    std::mt19937 random(5);
    std::size_t taken = 0;
    for (int round = 0; round < 3000; ++round) {
        std::string text = good;
        for (unsigned edits = random() % 4 + 1; edits > 0; --edits) {
            const std::size_t at = random() % text.size();
            switch (random() % 3) {
            case 0:
                text[at] = static_cast<char>(random());
                break;
            case 1:
                text.erase(at, random() % 20);
                break;
            default:
                text.insert(at, good.substr(random() % good.size(), random() % 20));
            }
            if (text.empty())
                break;
        }
        const auto policy = parse_policy(text, "x");
        if (!policy) {
            EXPECT_EQ(policy.error().kind, ErrorKind::usage);
            continue;
        }
        ++taken;
        const auto config = policy->config(gigabit);
        if (!config)
            continue;
        for (const gc_class_config& each : config->classes)
            EXPECT_LE(each.floor, each.cap);
    }
    EXPECT_GT(taken, 100U) << "comments can be changed";
}

TEST(Policy, ThoseThatComeWithGcctl) {
    const Policy silent = Policy::named("silent").value();
    EXPECT_TRUE(silent.yield);
    EXPECT_FALSE(silent.classes[GC_URGENT].paced);
    EXPECT_EQ(silent.classes[GC_URGENT].dscp, 34);
    EXPECT_EQ(silent.classes[GC_GUIDE].dscp, 18);
    EXPECT_EQ(silent.classes[GC_BACKGROUND].dscp, 1);
    const Policy fast = Policy::named("fast").value();
    EXPECT_FALSE(fast.yield);
    EXPECT_GT(fast.use.share, silent.use.share);
    for (const std::uint64_t link :
         {gigabit / 1000, gigabit / 100, gigabit, 100 * gigabit, 400 * gigabit})
        for (const Policy& policy : {silent, fast})
            EXPECT_TRUE(policy.config(link)) << link;
}

TEST(Policy, AnUnknownNameIsAnsweredWithThoseThatThereAre) {
    EXPECT_EQ(Policy::find("quiet").error().message,
              "unknown policy 'quiet' (expected silent, fast, or a file)");
}

TEST(Policy, SetChangesOneValue) {
    Policy policy = Policy::named("silent").value();
    ASSERT_TRUE(policy.set("class.background.cap=50mbit"));
    EXPECT_EQ(policy.classes[GC_BACKGROUND].cap, (Rate{false, 6'250'000, 0}));
    ASSERT_TRUE(policy.set("tenants.yield=false"));
    EXPECT_FALSE(policy.yield);
    ASSERT_TRUE(policy.set("mark=0x20"));
    EXPECT_EQ(policy.mark, 0x20U);
}

TEST(Policy, ASetThatIsRefusedChangesNothing) {
    Policy policy = Policy::named("silent").value();
    for (const char* bad : {"use", "use=", "=5", "nope=1", "class.guide=5", "class.guide.cap=0.5%",
                            "tenants.yield=maybe", "mark=0x", "mark=12x"}) {
        const auto set = policy.set(bad);
        ASSERT_FALSE(set) << bad;
        EXPECT_EQ(set.error().kind, ErrorKind::usage);
    }
    EXPECT_EQ(policy.classes, Policy::named("silent")->classes);
    EXPECT_TRUE(policy.yield);
}

TEST(PolicyConfig, SharesAreOfTheLink) {
    Policy policy;
    policy.use = {true, 0, 0.5};
    policy.classes[GC_WARM].floor = {true, 0, 0.01};
    policy.classes[GC_WARM].cap = {true, 0, 0.25};
    const gc_policy_config config = policy.config(gigabit).value();
    EXPECT_EQ(config.version, unsigned{GC_POLICY_VERSION});
    EXPECT_EQ(config.target, gigabit / 2);
    EXPECT_EQ(config.classes[GC_WARM].floor, gigabit / 100);
    EXPECT_EQ(config.classes[GC_WARM].cap, gigabit / 4);
    EXPECT_EQ(config.headroom, 256U);
    EXPECT_EQ(config.flags, unsigned{GC_YIELD});
    EXPECT_EQ(config.classes[GC_WARM].dscp, GC_DSCP_KEEP);
}

TEST(PolicyConfig, AnUnpacedClassHasNoWeight) {
    Policy policy;
    policy.classes[GC_GUIDE].paced = false;
    const gc_policy_config config = policy.config(gigabit).value();
    EXPECT_EQ(config.classes[GC_GUIDE].weight, 0U);
    EXPECT_EQ(config.classes[GC_WARM].weight, 1U);
}

TEST(PolicyConfig, TheWindowSeesSomeBigPackets) {
    Policy policy;
    policy.window = 1ms;
    // 4 x 64 KiB at 100 Mbit/s.
    EXPECT_EQ(policy.config(gigabit / 10)->window_ns, 20'971'520U);
    EXPECT_EQ(policy.config(100 * gigabit)->window_ns, 1'000'000U);
    policy.decay = 5ms;
    EXPECT_EQ(policy.config(gigabit / 10)->decay_ns, 20'971'520U) << "no shorter than a window";
}

TEST(PolicyConfig, NoClassIsStarvedForGood) {
    Policy policy;
    policy.classes[GC_BACKGROUND].floor = {true, 0, 0};
    EXPECT_GT(policy.config(gigabit)->classes[GC_BACKGROUND].floor, 0U);
}

TEST(PolicyConfig, AFloorAboveItsCapOnThisLink) {
    Policy policy;
    policy.classes[GC_GUIDE].floor = {true, 0, 0.5};
    policy.classes[GC_GUIDE].cap = {false, gigabit / 10, 0};
    EXPECT_TRUE(policy.config(gigabit / 10));
    EXPECT_THAT(policy.config(gigabit).error().message, HasSubstr("class.guide: the floor, "));
}

TEST(PolicyConfig, AUseThatTheLinkDoesNotHave) {
    Policy policy;
    policy.use = {false, gigabit, 0};
    EXPECT_EQ(policy.config(gigabit)->target, gigabit);
    const auto refused = policy.config(gigabit - 1);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("more than the link's rate"));
}

TEST(PolicyConfig, ALinkThatIsNone) {
    EXPECT_THAT(Policy{}.config(1000).error().message, HasSubstr("use: "));
}

}  // namespace
}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
// Invalid numbers, sizes, times, rates and addresses are refused by name: nothing wraps, nothing is
// cut.
#include "migrate/command.h"
#include "options/arguments.h"
#include "policy/command.h"
#include "receive/command.h"
#include "record/command.h"
#include "simulate/command.h"

#include <gmock/gmock.h>

namespace gc::options {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Arguments = std::vector<std::string>;

template <typename Parse> std::string error_of(Parse parse, Arguments base, const Arguments& more) {
    base.insert(base.end(), more.begin(), more.end());
    const auto parsed = parse(base);
    if (parsed)
        return "accepted";
    EXPECT_EQ(parsed.error().kind, ErrorKind::usage);
    return parsed.error().message;
}

/// Boost takes "--lead=" for a mistake of its own.
Arguments given(const std::string& option, const std::string& text) {
    return text.empty() ? Arguments{option, text} : Arguments{option + "=" + text};
}
std::string migrate_error(const Arguments& more) {
    return error_of(migrate::parse, {"--qmp=/s", "--to=127.0.0.1:4444"}, more);
}
std::string receive_error(const Arguments& more) {
    return error_of(receive::parse, {"--qmp=/d"}, more);
}

TEST(OptionValue, ANumberHasDigitsOnlyAndARange) {
    for (const char* option : {"--precopy-rounds", "--lead", "--next-pages"})
        for (const char* text : {"22x", "+5", "-1", "1e3", "", " 7", "7 ", "0x10", "1.0", "4K",
                                 "4294967296", "99999999999999999999999"})
            EXPECT_THAT(migrate_error(given(option, text)),
                        HasSubstr(fmt::format("{}: invalid number '{}' (expected ", option, text)));
    EXPECT_EQ(migrate_error({"--lead", "0"}), "--lead: invalid number '0' (expected 1 to "
                                              "4294967295) (see gcctl migrate --help)");
    EXPECT_EQ(migrate_error({"--lead=4294967295", "--next-pages=0", "--precopy-rounds=0"}),
              "accepted");
}

TEST(OptionValue, ATimeHasAUnitThatIsKnown) {
    for (const char* option : {"--precopy-time", "--guide-wait", "--switch-over-limit",
                               "--reconnect-limit", "--hold-background"})
        for (const char* text : {"5h", "-1s", "+1s", "1e3", "1 s", "soon", "", "inf", "nan", "-0"})
            EXPECT_THAT(
                migrate_error(given(option, text)),
                HasSubstr(fmt::format("{}: invalid duration '{}' (expected e.g. ", option, text)));
    EXPECT_THAT(migrate_error({"--precopy-time=35792min"}),
                HasSubstr("--precopy-time: invalid duration '35792min' (expected at most "));
    EXPECT_THAT(receive_error({"--listen=:0", "--wait=5x"}), HasSubstr("--wait: invalid duration"));
    EXPECT_THAT(receive_error({"--listen=:0", "--measure=5x"}),
                HasSubstr("--measure: invalid duration"));
}

TEST(OptionValue, ASizeOrRateHasAUnitThatIsKnown) {
    for (const char* text : {"-1", "+1M", "1e3", "1 M", "1Q", "", "big", "0"}) {
        EXPECT_THAT(migrate_error(given("--guide-memory", text)),
                    HasSubstr(fmt::format("--guide-memory: invalid size '{}' (", text)));
        EXPECT_THAT(migrate_error(given("--bandwidth", text)),
                    HasSubstr(fmt::format("--bandwidth: invalid rate '{}' (", text)));
        EXPECT_THAT(migrate_error(given("--policy-link", text)),
                    HasSubstr(fmt::format("--policy-link: invalid rate '{}' (", text)));
    }
}

TEST(OptionValue, AnAddressHasAPortThatCanBe) {
    const auto to = [](const std::string& address) {
        return error_of(migrate::parse, {"--qmp=/s"}, {"--to", address});
    };
    for (const char* port : {"70000", "71456", "65536", "-1", "+22", "22x", "http", "1e3", "0"}) {
        EXPECT_THAT(
            to(fmt::format("host2:{}", port)),
            HasSubstr(fmt::format("--to: invalid address 'host2:{}' (expected a port ", port)));
        EXPECT_THAT(to(fmt::format("ssh://host2:{}/run/vm.qmp", port)),
                    HasSubstr("expected a port from 1 to 65535"));
    }
    for (const char* port : {"70000", "71456", "-1", "22x"})
        EXPECT_THAT(receive_error({fmt::format("--listen=0.0.0.0:{}", port)}),
                    HasSubstr("expected a port from 0 to 65535"));
    EXPECT_EQ(receive_error({"--listen=:0"}), "accepted");
    EXPECT_EQ(receive_error({"--listen=[::]:65535"}), "accepted");
    EXPECT_THAT(to(":4444"), HasSubstr("expected a host"));
    for (const char* address : {"2001:db8::7:4444", "[2001:db8::7:4444", "2001:db8::7]:4444"})
        EXPECT_THAT(to(address), HasSubstr("in brackets"));
    for (const char* address : {"ssh://a:b:22/q", "ssh://[::1/q", "ssh://::1/q"})
        EXPECT_THAT(to(address), HasSubstr("in brackets"));
}

TEST(OptionValue, AnAddressOfSshIsTakenApart) {
    const Arguments arguments{"--qmp=/s", "--to=ssh://root@[2001:db8::7]:2222/run/vm.qmp"};
    const auto options = migrate::parse(arguments).value();
    ASSERT_TRUE(options && options->ssh);
    EXPECT_EQ(options->ssh->target.login, "root@2001:db8::7");
    EXPECT_EQ(options->ssh->target.port, "2222");
    EXPECT_EQ(options->ssh->target.qmp, "/run/vm.qmp");
}

TEST(OptionValue, ValuesArrive) {
    const Arguments arguments{"--qmp=/s",          "--to=[::1]:1",     "--lead=7",
                              "--bandwidth=8mbit", "--precopy-time=2", "--policy-link=1K"};
    const auto options = migrate::parse(arguments).value();
    ASSERT_TRUE(options);
    EXPECT_EQ(options->to.host, "::1");
    EXPECT_EQ(options->lead, 7U);
    EXPECT_EQ(options->bandwidth, 1'000'000U);
    EXPECT_EQ(options->precopy.time, 2s);
    EXPECT_EQ(options->policy_link, 1024U);
    EXPECT_EQ(options->next_pages, 16U) << "a default";
    EXPECT_EQ(options->guide_wait, 50ms) << "a default";
}

TEST(OptionValue, IsAUsageErrorOfEveryCommand) {
    EXPECT_EQ(record::command(Arguments{"--qmp=/q", "-o/f", "--for=-1s"}), exit_usage);
    EXPECT_EQ(record::command(Arguments{"--qmp=/q", "-o/f", "--interval=0"}), exit_usage);
    EXPECT_EQ(record::command(Arguments{"--qmp=/q", "-o/f", "--mode=both"}), exit_usage);
    EXPECT_EQ(policy::command(Arguments{"show", "--watch=1ms"}), exit_usage);
    EXPECT_EQ(policy::command(Arguments{"attach", "--dev=lo", "--link=-1"}), exit_usage);
    EXPECT_EQ(policy::command(Arguments{"set", "--dev=lo", "--link=1e9"}), exit_usage);
    for (const char* speed : {"0", "-1", "1e3", "inf", "nan", "x", "2000000"})
        EXPECT_EQ(simulate::command(Arguments{"/t", fmt::format("--speed={}", speed)}), exit_usage);
}

}  // namespace
}  // namespace gc::options

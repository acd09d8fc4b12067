// SPDX-License-Identifier: GPL-2.0-or-later
// Help, man page and completion of every command name the same options.
#include "options/manual.h"

#include "doctor/command.h"
#include "evacuate/command.h"
#include "html_report/command.h"
#include "migrate/command.h"
#include "options/arguments.h"
#include "options/completion.h"
#include "options/man_page.h"
#include "policy/command.h"
#include "receive/command.h"
#include "record/command.h"
#include "simulate/command.h"
#include "trace/command.h"

#include <gmock/gmock.h>
#include <regex>
#include <set>

namespace gc::options {
namespace {

using testing::HasSubstr;

std::vector<Manual> all_commands() {
    return {migrate::manual(),  receive::manual(),     evacuate::manual(),
            policy::manual(),   record::manual(),      trace::manual(),
            simulate::manual(), html_report::manual(), doctor::manual()};
}

/// Commands and subcommands that have options of their own.
std::vector<Manual> all_with_options() {
    std::vector<Manual> found;
    for (const Manual& command : all_commands()) {
        if (command.subcommands.empty())
            found.push_back(command);
        for (const Manual& each : command.subcommands)
            found.push_back(each);
    }
    return found;
}

/// Each match's first group.
std::set<std::string> matches(const std::string& text, const char* pattern) {
    const std::regex regex(pattern);
    std::set<std::string> found;
    for (std::sregex_iterator match(text.begin(), text.end(), regex), end; match != end; ++match)
        found.insert((*match)[1]);
    return found;
}

std::set<std::string> table(const Manual& command) {
    std::set<std::string> names;
    const auto all = command.options();
    for (const auto& option : all.options())
        names.insert(option->long_name());
    return names;
}

std::string section(const std::string& page, const std::string& begin) {
    const std::size_t from = page.find(begin);
    return from == std::string::npos ? "" : page.substr(from, page.find("\n.SH ", from + 1) - from);
}

TEST(Manual, HelpNamesTheOptionsOfTheTable) {
    for (const Manual& command : all_with_options())
        EXPECT_EQ(matches(command.help(), R"(\n  (?:-\w \[ )?--([\w-]+))"), table(command))
            << command.name;
}

TEST(Manual, TheManPageNamesTheOptionsOfTheTable) {
    for (const Manual& command : all_commands()) {
        const std::string page = man_page(command, "1.0");
        const auto options_in = [](const std::string& text) {
            std::set<std::string> names;
            for (const std::string& name : matches(text, R"(\n\.TP\n\\fB\\-\\-([\w\\-]+)\\fR)"))
                names.insert(std::regex_replace(name, std::regex(R"(\\-)"), "-"));
            return names;
        };
        if (command.subcommands.empty()) {
            EXPECT_EQ(options_in(section(page, ".SH OPTIONS")), table(command)) << command.name;
        }
        for (const Manual& each : command.subcommands) {
            std::string heading = ".SH GCCTL " + each.name;
            std::ranges::transform(heading, heading.begin(), ::toupper);
            EXPECT_EQ(options_in(section(page, heading)), table(each)) << each.name;
        }
    }
}

TEST(Manual, TheCompletionNamesTheOptionsOfTheTable) {
    const std::string script = bash_completion(all_commands());
    for (const Manual& command : all_with_options()) {
        const std::size_t row = script.find("\"" + command.name + "\")");
        ASSERT_NE(row, std::string::npos) << command.name;
        EXPECT_EQ(matches(script.substr(row, script.find('\n', row) - row), R"(--([\w-]+))"),
                  table(command))
            << command.name;
    }
    EXPECT_THAT(script, HasSubstr("\"policy\") words=\"attach show set detach\""));
}

TEST(Manual, EveryCommandSaysWhatItIsAndTakesHelp) {
    for (const Manual& command : all_with_options()) {
        EXPECT_FALSE(command.summary.empty()) << command.name;
        EXPECT_TRUE(table(command).contains("help")) << command.name;
        const auto all = command.options();
        for (const auto& option : all.options())
            EXPECT_FALSE(option->description().empty())
                << command.name << " --" << option->long_name();
        EXPECT_TRUE(command.operand.empty() || table(command).contains(command.operand))
            << command.name;
    }
}

TEST(ManPage, TextIsNoCommandOfRoff) {
    const Manual command{.name = "x",
                         .synopsis = "-y",
                         .summary = "does \\ this",
                         .description = ".TH first\n'second\n\nlast-one",
                         .operand = {},
                         .groups = {},
                         .subcommands = {}};
    const std::string page = man_page(command, "1.0");
    EXPECT_THAT(page, HasSubstr(".PP\n\\&.TH first\n\\&'second\n.PP\nlast\\-one\n"));
    EXPECT_THAT(page, HasSubstr("does \\e this"));
    EXPECT_THAT(page, HasSubstr(".B gcctl x\n\\-y\n"));
}

TEST(Arguments, AnUnknownOptionIsToldWithTheNearest) {
    const std::vector<std::string> arguments{"--qpm", "x"};
    const auto parsed = parse(receive::manual(), arguments);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().kind, ErrorKind::usage);
    EXPECT_EQ(parsed.error().message,
              "unknown option '--qpm'; did you mean '--qmp'? (see gcctl receive --help)");
}

}  // namespace
}  // namespace gc::options

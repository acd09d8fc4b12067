// SPDX-License-Identifier: GPL-2.0-or-later
#include "options/arguments.h"

#include "options/nearest.h"
#include "util/print.h"

#include <iostream>

namespace gc::options {

namespace po = boost::program_options;

namespace {

std::vector<std::string> names_of(const po::options_description& options) {
    std::vector<std::string> names;
    for (const auto& option : options.options())
        names.push_back("--" + option->long_name());
    return names;
}

}  // namespace

Result<std::optional<po::variables_map>> parse(const Manual& manual,
                                               std::span<const std::string> arguments) {
    const po::options_description options = manual.options();
    try {
        po::variables_map values;
        po::command_line_parser parser(
            std::vector<std::string>(arguments.begin(), arguments.end()));
        po::positional_options_description operands;
        if (!manual.operand.empty())
            operands.add(manual.operand.c_str(), 1);
        // No guessing of abbreviated options: scripts outlive releases.
        po::store(
            parser.options(options)
                .positional(operands)
                .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
                .run(),
            values);
        if (values.contains("help")) {
            std::cout << manual.help();
            return std::nullopt;
        }
        po::notify(values);
        return values;
    } catch (const po::unknown_option& error) {
        return fail(ErrorKind::usage, "unknown option '{}'{} (see gcctl {} --help)",
                    error.get_option_name(), suggestion(error.get_option_name(), names_of(options)),
                    manual.name);
    } catch (const po::error& error) {
        return fail(ErrorKind::usage, "{} (see gcctl {} --help)", error.what(), manual.name);
    }
}

int complain(std::string_view command, const Error& error) {
    print_best_effort(stderr, "gcctl {}: {}\n", command, error.message);
    switch (error.kind) {
    case ErrorKind::usage:
        return exit_usage;
    case ErrorKind::unsupported:
        return exit_refused;
    case ErrorKind::cancelled:
        return exit_cancelled;
    case ErrorKind::needs_operator:
        return exit_needs_operator;
    case ErrorKind::protocol:
    case ErrorKind::io:
        break;
    }
    return exit_failed;
}

Manual with(Manual manual, std::vector<Subcommand> subcommands) {
    for (Subcommand& each : subcommands)
        manual.subcommands.push_back(std::move(each.manual));
    return manual;
}

int run(const Manual& manual, const std::vector<Subcommand>& subcommands,
        std::span<const std::string> arguments) {
    if (arguments.empty()) {
        fmt::print(stderr, "{}", manual.help());
        return exit_usage;
    }
    if (arguments[0] == "--help" || arguments[0] == "-h") {
        fmt::print("{}", manual.help());
        return exit_done;
    }
    std::vector<std::string> names;
    for (const Subcommand& each : subcommands) {
        names.push_back(each.manual.name.substr(each.manual.name.find(' ') + 1));
        if (arguments[0] == names.back())
            return each.run(arguments.subspan(1));
    }
    return complain(
        manual.name,
        {ErrorKind::usage, fmt::format("unknown command '{}'{} (see gcctl {} --help)", arguments[0],
                                       suggestion(arguments[0], names), manual.name)});
}

}  // namespace gc::options

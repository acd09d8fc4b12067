// SPDX-License-Identifier: GPL-2.0-or-later
#include "options/arguments.h"

#include <iostream>

namespace gc::options {

namespace po = boost::program_options;

Result<std::optional<po::variables_map>> parse(std::string_view command, std::string_view synopsis,
                                               std::span<const std::string> arguments,
                                               const po::options_description& options,
                                               const char* operand) {
    try {
        po::variables_map values;
        po::command_line_parser parser(
            std::vector<std::string>(arguments.begin(), arguments.end()));
        po::positional_options_description operands;
        if (operand != nullptr)
            operands.add(operand, 1);
        // No guessing of abbreviated options: scripts outlive releases.
        po::store(
            parser.options(options)
                .positional(operands)
                .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
                .run(),
            values);
        if (values.contains("help")) {
            std::cout << "usage: gcctl " << command << ' ' << synopsis << "\n\n" << options;
            return std::nullopt;
        }
        po::notify(values);
        return values;
    } catch (const po::error& error) {
        return fail(ErrorKind::usage, "{}; see gcctl {} --help", error.what(), command);
    }
}

int complain(std::string_view command, const Error& error) {
    fmt::print(stderr, "gcctl {}: {}\n", command, error.message);
    switch (error.kind) {
    case ErrorKind::usage:
        return exit_usage;
    case ErrorKind::unsupported:
        return exit_refused;
    case ErrorKind::cancelled:
        return exit_cancelled;
    case ErrorKind::after_commit:
        return exit_after_commit;
    case ErrorKind::protocol:
    case ErrorKind::io:
        break;
    }
    return exit_failed;
}

}  // namespace gc::options

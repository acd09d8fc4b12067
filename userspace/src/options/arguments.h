// SPDX-License-Identifier: GPL-2.0-or-later
// What the commands' argument parsers share, around Boost.Program_options.
#pragma once

#include "options/manual.h"
#include "util/error.h"

#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace gc::options {

/// Exit statuses of gcctl; docs/operations/troubleshooting.md says what to do after each.
enum ExitStatus : int {
    exit_done = 0,
    exit_failed = 1,          ///< it failed; the VM runs where it ran before
    exit_usage = 2,           ///< the command line is wrong
    exit_refused = 3,         ///< a check failed before anything was touched
    exit_needs_operator = 4,  ///< the VM may be stopped: the message says what to do
    exit_cancelled = 130,     ///< the user interrupted it; the VM runs where it ran before
};

/// Parses a command's options. Handles --help (prints it and returns nullopt).
/// Errors: usage, with what was wrong, the nearest option there is, and where help is.
Result<std::optional<boost::program_options::variables_map>>
parse(const Manual& manual, std::span<const std::string> arguments);

/// Prints "gcctl COMMAND: message" on standard error. @return the exit status of its kind
int complain(std::string_view command, const Error& error);

/// A whole command: parses its options and does its work, or complains. @return the exit status
/// @param work whose value, if it has one, is the exit status
template <typename Options, typename Status>
int run(std::string_view command, std::span<const std::string> arguments,
        Result<std::optional<Options>> (*parse_options)(std::span<const std::string>),
        Result<Status> (*work)(const Options&)) {
    const auto options = parse_options(arguments);
    if (!options)
        return complain(command, options.error());
    if (!*options)
        return exit_done;
    const auto done = work(**options);
    if (!done)
        return complain(command, done.error());
    if constexpr (std::is_void_v<Status>)
        return exit_done;
    else
        return *done;
}

/// The same for a command whose options need no conversion.
template <typename Options>
int run(std::string_view command, std::span<const std::string> arguments,
        Manual (*manual_of)(Options&), Result<void> (*work)(const Options&)) {
    Options options;
    const auto values = parse(manual_of(options), arguments);
    if (!values)
        return complain(command, values.error());
    if (!*values)
        return exit_done;
    if (const auto done = work(options); !done)
        return complain(command, done.error());
    return exit_done;
}

/// A command of a command, such as "policy attach".
struct Subcommand {
    Manual manual;
    int (*run)(std::span<const std::string> arguments);
};
/// The manual of a command, with those of its subcommands.
[[nodiscard]] Manual with(Manual manual, std::vector<Subcommand> subcommands);
/// Runs the subcommand that the first argument names; without one, or with --help, prints the help.
/// @param manual of the command. @return the exit status
int run(const Manual& manual, const std::vector<Subcommand>& subcommands,
        std::span<const std::string> arguments);

}  // namespace gc::options

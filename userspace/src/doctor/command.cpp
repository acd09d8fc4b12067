// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor/command.h"

#include "doctor/checks.h"
#include "options/arguments.h"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace gc::doctor {

namespace {

namespace po = boost::program_options;

struct CommandLine {
    Options options;
    bool json = false;
};

Result<Role> parse_role(const std::string& text) {
    if (text == "source")
        return Role::source;
    if (text == "destination")
        return Role::destination;
    if (text == "both")
        return Role::both;
    return fail(ErrorKind::usage,
                "--role: 'source', 'destination' or 'both' was expected, not '{}'", text);
}

Result<std::optional<CommandLine>> parse(std::span<const std::string> arguments) {
    std::string role;
    CommandLine line;
    po::options_description description("Options");
    description.add_options()("help,h", "show this text")(
        "role", po::value(&role)->default_value("both")->value_name("ROLE"),
        "what this host shall be: source, destination or both")(
        "qmp", po::value(&line.options.qmp)->value_name("SOCKET"),
        "also look at the VM behind this QMP unix socket")("json", po::bool_switch(&line.json),
                                                           "print one JSON object");
    GC_TRY(const auto values, options::parse("doctor", "[options]", arguments, description));
    if (!values)
        return std::nullopt;
    GC_TRY(line.options.role, parse_role(role));
    return line;
}

}  // namespace

int command(std::span<const std::string> arguments) {
    const auto line = parse(arguments);
    if (!line)
        return options::complain("doctor", line.error());
    if (!*line)
        return options::exit_done;
    const auto checks = run_checks(Host(), (*line)->options);
    if ((*line)->json)
        fmt::print("{}\n", render_json(checks).dump(2, ' ', false,
                                                    nlohmann::json::error_handler_t::replace));
    else
        fmt::print("{}", render_text(checks));
    return ready(checks) ? options::exit_done : options::exit_failed;
}

}  // namespace gc::doctor

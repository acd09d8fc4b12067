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
    return fail(ErrorKind::usage, "invalid --role '{}' (expected source, destination or both)",
                text);
}

options::Manual manual_of(CommandLine& line, std::string& role) {
    options::Group group("Checks");
    group.add_options()("role", po::value(&role)->default_value("both")->value_name("ROLE"),
                        "role of this host: source, destination or both")(
        "qmp", po::value(&line.options.qmp)->value_name("SOCKET"),
        "also check the VM behind this QMP unix socket")(
        "qemu-user", po::value(&line.options.qemu_user)->value_name("USER"),
        "user that the destination's QEMU runs as (default: that of the QEMU behind --qmp, else "
        "libvirt's if there is one, else this one)")("json", po::bool_switch(&line.json),
                                                     "print one JSON object");
    return {.name = "doctor",
            .synopsis = "[options]",
            .summary = "check this host and print fixes",
            .description = "Checks what a migration needs of this host, and prints for each thing "
                           "that is missing the command that provides it. Changes nothing. Exits "
                           "with 1 if the host cannot do what it is to do.",
            .operand = {},
            .groups = {group, options::general_options()},
            .subcommands = {}};
}

Result<std::optional<CommandLine>> parse(std::span<const std::string> arguments) {
    std::string role;
    CommandLine line;
    GC_TRY(const auto values, options::parse(manual_of(line, role), arguments));
    if (!values)
        return std::nullopt;
    GC_TRY(line.options.role, parse_role(role));
    return line;
}

}  // namespace

options::Manual manual() {
    static CommandLine line;
    static std::string role;
    return manual_of(line, role);
}

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

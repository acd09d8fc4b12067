// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/command.h"

#include "options/arguments.h"
#include "options/nearest.h"

#include <vector>

namespace gc::policy {
namespace {

struct Command {
    options::Manual manual;
    int (*run)(std::span<const std::string>);
};

std::vector<Command> commands() {
    return {{attach_manual(), attach_command},
            {show_manual(), show_command},
            {set_manual(), set_command},
            {detach_manual(), detach_command}};
}

}  // namespace

options::Manual manual() {
    options::Manual all{.name = "policy",
                        .synopsis = "attach|show|set|detach [options]",
                        .summary = "manage traffic-shaping policies on a NIC",
                        .description =
                            "A policy is a tc program, with fq as its qdisc, that tells the "
                            "classes of a migration's packets from those of everybody else, the "
                            "tenants. gcctl migrate attaches one while it runs; a policy that is "
                            "attached here stays, and serves every migration that starts "
                            "meanwhile.",
                        .operand = {},
                        .groups = {},
                        .subcommands = {}};
    for (Command& each : commands())
        all.subcommands.push_back(std::move(each.manual));
    return all;
}

int command(std::span<const std::string> arguments) {
    if (arguments.empty()) {
        fmt::print(stderr, "{}", manual().help());
        return options::exit_usage;
    }
    if (arguments[0] == "--help" || arguments[0] == "-h") {
        fmt::print("{}", manual().help());
        return options::exit_done;
    }
    std::vector<std::string> names;
    for (const Command& each : commands()) {
        names.push_back(each.manual.name.substr(each.manual.name.find(' ') + 1));
        if (arguments[0] == names.back())
            return each.run(arguments.subspan(1));
    }
    return options::complain(
        "policy",
        {ErrorKind::usage, fmt::format("unknown command '{}'{} (see gcctl policy --help)",
                                       arguments[0], options::suggestion(arguments[0], names))});
}

}  // namespace gc::policy

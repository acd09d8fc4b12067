// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/command.h"

#include "options/arguments.h"

#include <array>

namespace gc::policy {
namespace {

struct Command {
    std::string_view name;
    std::string_view what;
    int (*run)(std::span<const std::string>);
};

constexpr std::array<Command, 4> commands{{
    {"attach", "put a policy on a NIC, to stay until it is detached", attach_command},
    {"show", "what is attached, and how much each class sends", show_command},
    {"set", "change the policy of a NIC while it is in use", set_command},
    {"detach", "remove it, and put the NIC's qdisc back", detach_command},
}};

void print_usage(std::FILE* to) {
    fmt::print(to, "usage: gcctl policy COMMAND [options]\n\nTraffic classes on the NIC that "
                   "migrations leave by.\n\nCommands:\n");
    for (const Command& each : commands)
        fmt::print(to, "  {:<10}{}\n", each.name, each.what);
    fmt::print(to, "\n'gcctl policy COMMAND --help' tells a command's options.\n");
}

}  // namespace

int command(std::span<const std::string> arguments) {
    if (arguments.empty()) {
        print_usage(stderr);
        return options::exit_usage;
    }
    if (arguments[0] == "--help" || arguments[0] == "-h") {
        print_usage(stdout);
        return options::exit_done;
    }
    for (const Command& each : commands)
        if (arguments[0] == each.name)
            return each.run(arguments.subspan(1));
    return options::complain(
        "policy", {ErrorKind::usage,
                   fmt::format("'{}' is no command; see gcctl policy --help", arguments[0])});
}

}  // namespace gc::policy

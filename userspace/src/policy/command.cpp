// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/command.h"

#include "options/arguments.h"

#include <vector>

namespace gc::policy {
namespace {

std::vector<options::Subcommand> commands() {
    return {{attach_manual(), attach_command},
            {show_manual(), show_command},
            {set_manual(), set_command},
            {detach_manual(), detach_command}};
}

}  // namespace

options::Manual manual() {
    return options::with({.name = "policy",
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
                          .subcommands = {}},
                         commands());
}

int command(std::span<const std::string> arguments) {
    return options::run(manual(), commands(), arguments);
}

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
// gcctl: chooses the command.

#include "doctor/command.h"
#include "html_report/command.h"
#include "migrate/command.h"
#include "options/arguments.h"
#include "policy/command.h"
#include "receive/command.h"
#include "record/command.h"
#include "simulate/command.h"
#include "trace/command.h"

#include <array>
#include <csignal>
#include <vector>

namespace {

struct Command {
    std::string_view name;
    std::string_view what;
    int (*run)(std::span<const std::string>);
};

constexpr std::array<Command, 8> commands{{
    {"migrate", "move a running VM to another host (run at the source)", gc::migrate::command},
    {"receive", "take a VM (run at the destination)", gc::receive::command},
    {"policy", "shape what migrations send, on the NIC that they leave by", gc::policy::command},
    {"record", "record which memory of a running VM is in use", gc::record::command},
    {"trace", "show what was recorded", gc::trace::command},
    {"simulate", "replay a trace: what its VM's migration would be over a given link",
     gc::simulate::command},
    {"report", "make a page with pictures of a migration's or a benchmark's results",
     gc::html_report::command},
    {"doctor", "say what this host lacks for it, and how to mend that", gc::doctor::command},
}};

void print_usage(std::FILE* to) {
    fmt::print(to, "usage: gcctl COMMAND [options]\n\nLive migration of KVM virtual machines by "
                   "guide-copy.\n\nCommands:\n");
    for (const Command& command : commands)
        fmt::print(to, "  {:<10}{}\n", command.name, command.what);
    fmt::print(
        to, "\n'gcctl COMMAND --help' tells a command's options; 'gcctl --version' the version.\n");
}

}  // namespace

int main(int argc, char** argv) {
    // A peer that goes away is an error of write(), to be told in words.
    std::signal(SIGPIPE, SIG_IGN);
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.empty()) {
        print_usage(stderr);
        return gc::options::exit_usage;
    }
    if (arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
        print_usage(stdout);
        return gc::options::exit_done;
    }
    if (arguments[0] == "--version" || arguments[0] == "-V") {
        fmt::print("gcctl {}\n", GC_VERSION);
        return gc::options::exit_done;
    }
    for (const Command& command : commands)
        if (arguments[0] == command.name)
            return command.run(std::span(arguments).subspan(1));
    fmt::print(stderr, "gcctl: '{}' is no command; see gcctl --help\n", arguments[0]);
    return gc::options::exit_usage;
}

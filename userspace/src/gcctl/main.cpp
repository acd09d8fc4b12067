// SPDX-License-Identifier: GPL-2.0-or-later
// gcctl: finds the command and runs it.

#include "doctor/command.h"
#include "evacuate/command.h"
#include "guide/options_page.h"
#include "html_report/command.h"
#include "metrics/families.h"
#include "migrate/command.h"
#include "options/arguments.h"
#include "options/completion.h"
#include "options/man_page.h"
#include "options/nearest.h"
#include "policy/command.h"
#include "receive/command.h"
#include "record/command.h"
#include "recover/command.h"
#include "recover/status.h"
#include "recover/take_back.h"
#include "simulate/command.h"
#include "trace/command.h"
#include "util/print.h"

#include <array>
#include <csignal>
#include <exception>
#include <vector>

namespace {

using namespace gc;
using Arguments = std::span<const std::string>;

struct Command {
    options::Manual (*manual)();
    int (*run)(Arguments);
    /// It finishes its work when the reader of its output goes away; the others end by SIGPIPE.
    bool outlives_reader = false;
};

constexpr std::array<Command, 13> commands{{
    {migrate::manual, migrate::command, true},
    {receive::manual, receive::command, true},
    {migrate::proxy_manual, migrate::proxy_command, true},
    {evacuate::manual, evacuate::command, true},
    {recover::status_manual, recover::status_command},
    {recover::manual, recover::command, true},
    {recover::take_back_manual, recover::take_back_command, true},
    {policy::manual, policy::command},
    {record::manual, record::command, true},
    {trace::manual, trace::command},
    {simulate::manual, simulate::command},
    {html_report::manual, html_report::command},
    {doctor::manual, doctor::command},
}};

std::vector<options::Manual> manuals() {
    std::vector<options::Manual> all;
    all.reserve(commands.size());
    for (const Command& command : commands)
        all.push_back(command.manual());
    return all;
}

void print_usage(std::FILE* to) {
    fmt::print(to, "usage: gcctl COMMAND [options]\n\nLive migration of KVM virtual machines by "
                   "guide-copy.\n\nCommands:\n");
    for (const options::Manual& manual : manuals())
        fmt::print(to, "  {:<10}{}\n", manual.name, manual.summary);
    fmt::print(to, "  {:<10}{}\n", "help", "show a command's options");
    fmt::print(to, "\n'gcctl help COMMAND' shows a command's options; 'gcctl --version' prints the "
                   "version.\n'gcctl help --guide-options' shows what becomes of QEMU's options in "
                   "a guide,\n'gcctl help --metrics' what --metrics-file writes.\n");
}

int unknown(const std::string& name) {
    std::vector<std::string> names{"help"};
    for (const options::Manual& manual : manuals())
        names.push_back(manual.name);
    fmt::print(stderr, "gcctl: unknown command '{}'{} (see gcctl --help)\n", name,
               options::suggestion(name, names));
    return options::exit_usage;
}

const Command* find(const std::string& name) {
    for (const Command& command : commands)
        if (command.manual().name == name)
            return &command;
    return nullptr;
}

/// `gcctl help [--man] [COMMAND]`, and `gcctl help` with --completion, --guide-options or
/// --metrics. All but the first are for the build and for documents.
int help(Arguments arguments) {
    const bool man = !arguments.empty() && arguments[0] == "--man";
    if (!arguments.empty() && arguments[0] == "--completion") {
        fmt::print("{}", options::bash_completion(manuals()));
        return options::exit_done;
    }
    if (!arguments.empty() && arguments[0] == "--guide-options") {
        fmt::print("{}", guide::options_page());
        return options::exit_done;
    }
    if (!arguments.empty() && arguments[0] == "--metrics") {
        fmt::print("{}", metrics::reference_page());
        return options::exit_done;
    }
    if (man)
        arguments = arguments.subspan(1);
    if (arguments.empty() || arguments[0] == "help") {
        if (man)
            fmt::print("{}", options::man_page(manuals(), GC_VERSION));
        else
            print_usage(stdout);
        return options::exit_done;
    }
    const Command* command = find(arguments[0]);
    if (command == nullptr)
        return unknown(arguments[0]);
    if (!man) {
        std::vector<std::string> asked(arguments.begin() + 1, arguments.end());
        asked.emplace_back("--help");
        return command->run(asked);
    }
    fmt::print("{}", options::man_page(command->manual(), GC_VERSION));
    return options::exit_done;
}

int run(const std::vector<std::string>& arguments) {
    if (arguments.empty()) {
        print_usage(stderr);
        return options::exit_usage;
    }
    const std::string& name = arguments[0];
    const Arguments rest = Arguments(arguments).subspan(1);
    if (name == "--help" || name == "-h" || name == "help")
        return help(rest);
    if (name == "--version" || name == "-V") {
        fmt::print("gcctl {}\n", GC_VERSION);
        return options::exit_done;
    }
    const Command* command = find(name);
    if (command == nullptr)
        return unknown(name);
    // A peer that goes away is an error of write(), to be told in words.
    if (command->outlives_reader)
        std::signal(SIGPIPE, SIG_IGN);
    return command->run(rest);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run({argv + 1, argv + argc});
    } catch (const std::exception& error) {
        // A migration catches its own: this is a fault before or after it.
        print_best_effort(stderr, "gcctl: unexpected exception: {}; this is a bug of gcctl\n",
                          error.what());
        return options::exit_failed;
    }
}

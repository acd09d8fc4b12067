// SPDX-License-Identifier: GPL-2.0-or-later
#include "options/manual.h"

#include <cctype>
#include <fmt/core.h>
#include <sstream>

namespace gc::options {
namespace {

constexpr unsigned line_length = 100;
constexpr unsigned min_description_length = 64;

/// "Move a running VM." of "move a running VM".
std::string sentence(std::string text) {
    text.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(text.front())));
    return text + ".";
}

}  // namespace

Group::Group(const std::string& heading)
    : options_description(heading, line_length, min_description_length), heading_(heading) {}

std::string Manual::help() const {
    std::string text = fmt::format("usage: gcctl {}{}{}\n\n{}\n", name, synopsis.empty() ? "" : " ",
                                   synopsis, sentence(summary));
    if (!subcommands.empty()) {
        text += "\nCommands:\n";
        for (const Manual& each : subcommands)
            text += fmt::format("  {:<10}{}\n", each.name.substr(each.name.find(' ') + 1),
                                each.summary);
        return text + fmt::format("\n'gcctl {} COMMAND --help' shows a command's options.\n", name);
    }
    for (const Group& group : groups) {
        std::ostringstream out;
        out << group;
        text += "\n" + out.str();
    }
    return text;
}

boost::program_options::options_description Manual::options() const {
    boost::program_options::options_description all;
    for (const Group& group : groups)
        all.add(group);
    return all;
}

Group general_options() {
    Group group("General");
    group.add_options()("help,h", "show this text");
    return group;
}

}  // namespace gc::options

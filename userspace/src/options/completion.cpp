// SPDX-License-Identifier: GPL-2.0-or-later
#include "options/completion.h"

#include <fmt/core.h>

namespace gc::options {
namespace {

std::string option_words(const Manual& command) {
    std::string words;
    for (const Group& group : command.groups)
        for (const auto& option : group.options())
            words += (words.empty() ? "--" : " --") + option->long_name();
    return words;
}

std::string last_word(std::string_view name) {
    return std::string(name.substr(name.rfind(' ') + 1));
}

/// A line of the table from a command's name to what may follow it.
std::string row(const Manual& command) {
    std::string words = option_words(command);
    for (const Manual& each : command.subcommands)
        words += (words.empty() ? "" : " ") + last_word(each.name);
    return fmt::format("        \"{}\") words=\"{}\" ;;\n", command.name, words);
}

}  // namespace

std::string bash_completion(std::span<const Manual> commands) {
    std::string names = "help", rows;
    for (const Manual& command : commands) {
        names += " " + command.name;
        rows += row(command);
        for (const Manual& each : command.subcommands)
            rows += row(each);
    }
    return fmt::format(R"(# bash completion for gcctl
_gcctl() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} command=${{COMP_WORDS[1]}} words
    if [ "$COMP_CWORD" = 1 ] || [ "$command" = help ]; then
        words="{} --help --version"
    else
        [ "$command" != policy ] || [ "$COMP_CWORD" = 2 ] || command="policy ${{COMP_WORDS[2]}}"
        case $command in
{}        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -o default -F _gcctl gcctl
)",
                       names, rows);
}

}  // namespace gc::options

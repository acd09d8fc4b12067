// SPDX-License-Identifier: GPL-2.0-or-later
#include "options/man_page.h"

#include <algorithm>
#include <cctype>
#include <fmt/core.h>

namespace gc::options {
namespace {

struct ExitRow {
    int status;
    const char* meaning;
};

constexpr ExitRow exit_rows[] = {
    {0, "Done."},
    {1, "It failed; the VM runs where it ran before."},
    {2, "The command line is wrong."},
    {3, "A check refused it before anything was touched."},
    {4, "It failed after the VM was handed over, or the VM could not be resumed at the source: it "
        "may be stopped and needs its operator. See the troubleshooting chapter of the "
        "documentation."},
    {130, "Interrupted; the VM runs where it ran before."},
};

/// Text for roff: no backslash, dash or leading control character is taken for a command.
std::string escaped(std::string_view text) {
    std::string out;
    bool at_line_begin = true;
    for (const char c : text) {
        if (at_line_begin && (c == '.' || c == '\''))
            out += "\\&";
        if (c == '\\')
            out += "\\e";
        else if (c == '-')
            out += "\\-";
        else
            out += c;
        at_line_begin = c == '\n';
    }
    return out;
}

std::string upper(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return out;
}

/// "gcctl-policy" of "policy attach".
std::string page_name(const Manual& command) {
    return "gcctl-" + command.name.substr(0, command.name.find(' '));
}

std::string paragraphs(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find("\n\n"), text.size());
        out += ".PP\n" + escaped(text.substr(0, end)) + "\n";
        text.remove_prefix(std::min(end + 2, text.size()));
    }
    return out;
}

std::string title(std::string_view name, std::string_view version) {
    return fmt::format(".TH \"{}\" 8 \"\" \"guidecopy {}\" \"System Administration\"\n",
                       upper(escaped(name)), version);
}

/// "\-\-output, \-o FILE" of an option; the value's name in italics.
std::string term(const boost::program_options::option_description& option) {
    std::string out = fmt::format("\\fB{}\\fR", escaped("--" + option.long_name()));
    const std::string dashed = option.canonical_display_name(
        boost::program_options::command_line_style::allow_dash_for_short);
    if (dashed.size() == 2 && dashed[0] == '-' && dashed[1] != '-')
        out += fmt::format(", \\fB{}\\fR", escaped(dashed));
    const std::string parameter = option.format_parameter();
    return parameter.empty() ? out : out + fmt::format(" \\fI{}\\fR", escaped(parameter));
}

std::string option_list(const Manual& command) {
    std::string out;
    for (const Group& group : command.groups) {
        out += fmt::format(".SS {}\n", escaped(group.heading()));
        for (const auto& option : group.options())
            out += fmt::format(".TP\n{}\n{}\n", term(*option), escaped(option->description()));
    }
    return out;
}

std::string exit_status() {
    std::string out = ".SH EXIT STATUS\n";
    for (const auto& [status, meaning] : exit_rows)
        out += fmt::format(".TP\n.B {}\n{}\n", status, escaped(meaning));
    return out;
}

std::string synopsis(const Manual& command) {
    return fmt::format(".B {}\n{}\n", escaped("gcctl " + command.name), escaped(command.synopsis));
}

}  // namespace

std::string man_page(const Manual& command, std::string_view version) {
    const std::string name = page_name(command);
    std::string out = title(name, version);
    out +=
        fmt::format(".SH NAME\n{} \\- {}\n.SH SYNOPSIS\n", escaped(name), escaped(command.summary));
    if (command.subcommands.empty())
        out += synopsis(command);
    for (const Manual& each : command.subcommands)
        out += synopsis(each) + ".br\n";
    out += ".SH DESCRIPTION\n" + paragraphs(command.description);
    if (command.subcommands.empty())
        out += ".SH OPTIONS\n" + option_list(command);
    for (const Manual& each : command.subcommands)
        out += fmt::format(".SH {}\n{}.\n", upper(escaped("gcctl " + each.name)),
                           escaped(each.summary)) +
               paragraphs(each.description) + option_list(each);
    return out + exit_status() + ".SH SEE ALSO\n.BR gcctl (8)\n";
}

std::string man_page(std::span<const Manual> commands, std::string_view version) {
    std::string out = title("gcctl", version);
    out += ".SH NAME\ngcctl \\- live migration of KVM virtual machines by guide\\-copy\n"
           ".SH SYNOPSIS\n.B gcctl\n.I COMMAND\n[options]\n.br\n.B gcctl help\n[\\fICOMMAND\\fR]\n"
           ".SH DESCRIPTION\n";
    out += paragraphs(
        "gcctl moves a running VM from one host to another with the distribution's QEMU at both "
        "ends. The VM starts at the destination at once; a second copy of it, the guide, runs on "
        "at "
        "the source without any effect, and the pages that it touches are sent ahead of demand.\n\n"
        "gcctl migrate runs at the source, gcctl receive at the destination.");
    out += ".SH COMMANDS\n";
    for (const Manual& each : commands)
        out +=
            fmt::format(".TP\n.BR {} (8)\n{}.\n", escaped(page_name(each)), escaped(each.summary));
    out += exit_status() + ".SH SEE ALSO\n";
    for (const Manual& each : commands)
        out += fmt::format(".BR {} (8){}\n", escaped(page_name(each)),
                           &each == &commands.back() ? "" : ",");
    return out;
}

}  // namespace gc::options

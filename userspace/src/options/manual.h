// SPDX-License-Identifier: GPL-2.0-or-later
// What a command is and takes, told once: --help, the man page and the completion are made of it.
#pragma once

#include <boost/program_options.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace gc::options {

/// Options under a heading of their own in --help and in the man page.
class Group : public boost::program_options::options_description {
  public:
    explicit Group(const std::string& heading);
    [[nodiscard]] const std::string& heading() const { return heading_; }

  private:
    std::string heading_;
};

struct Manual {
    std::string name;         ///< "migrate"; of a subcommand "policy attach"
    std::string synopsis;     ///< what follows the name: "--qmp SOCKET --to HOST:PORT [options]"
    std::string summary;      ///< one line without a full stop
    std::string description;  ///< for the man page: paragraphs with a blank line between them
    std::string operand;      ///< the option that may be given without its name; empty: none
    std::vector<Group> groups;
    std::vector<Manual> subcommands;  ///< a command has these or options of its own

    [[nodiscard]] std::string help() const;
    /// All options of all groups, as the parser takes them.
    [[nodiscard]] boost::program_options::options_description options() const;
};

/// "--help" and the like, which every command takes.
[[nodiscard]] Group general_options();

}  // namespace gc::options

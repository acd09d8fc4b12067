// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <span>
#include <string>

namespace gc::policy {

/// `gcctl policy attach|show|set|detach ARGS`. @return the exit status
int command(std::span<const std::string> arguments);

// Each with the arguments after its name.
int attach_command(std::span<const std::string> arguments);
int show_command(std::span<const std::string> arguments);
int set_command(std::span<const std::string> arguments);
int detach_command(std::span<const std::string> arguments);

}  // namespace gc::policy

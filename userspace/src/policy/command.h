// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "options/manual.h"

#include <span>
#include <string>

namespace gc::policy {

/// Runs `gcctl policy attach|show|set|detach ARGUMENTS`. @return the exit status
int command(std::span<const std::string> arguments);

/// Its options, for help, man page and completion.
options::Manual manual();

// Each takes the arguments after its name.
int attach_command(std::span<const std::string> arguments);
int show_command(std::span<const std::string> arguments);
int set_command(std::span<const std::string> arguments);
int detach_command(std::span<const std::string> arguments);
options::Manual attach_manual();
options::Manual show_manual();
options::Manual set_manual();
options::Manual detach_manual();

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "options/manual.h"

#include <span>
#include <string>

namespace gc::doctor {

/// Runs `gcctl doctor ARGUMENTS`. @return the exit status: 0 if ready, 1 if something is lacking
int command(std::span<const std::string> arguments);

/// Its options, for help, man page and completion.
options::Manual manual();

}  // namespace gc::doctor

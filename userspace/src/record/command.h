// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "options/manual.h"

#include <span>
#include <string>

namespace gc::record {

/// Runs `gcctl record ARGUMENTS`. @return the exit status
int command(std::span<const std::string> arguments);

/// Its options, for help, man page and completion.
options::Manual manual();

}  // namespace gc::record

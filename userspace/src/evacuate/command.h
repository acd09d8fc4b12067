// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "options/manual.h"

#include <span>
#include <string>

namespace gc::evacuate {

/// `gcctl evacuate ARGS`. @return the exit status
int command(std::span<const std::string> arguments);

/// The options, for help, man page and completion.
options::Manual manual();

}  // namespace gc::evacuate

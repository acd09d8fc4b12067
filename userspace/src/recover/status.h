// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "options/manual.h"

#include <span>
#include <string>

namespace gc::recover {

/// `gcctl status ARGS`. @return the exit status
int status_command(std::span<const std::string> arguments);
options::Manual status_manual();

}  // namespace gc::recover

// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "options/manual.h"

#include <span>
#include <string>

namespace gc::recover {

/// `gcctl recover ARGS`. @return the exit status
int command(std::span<const std::string> arguments);
options::Manual manual();

}  // namespace gc::recover

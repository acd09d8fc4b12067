// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "options/manual.h"

#include <span>
#include <string>

namespace gc::recover {

/// `gcctl take-back ARGS`. @return the exit status
int take_back_command(std::span<const std::string> arguments);
options::Manual take_back_manual();

}  // namespace gc::recover

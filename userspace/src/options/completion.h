// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "options/manual.h"

#include <span>

namespace gc::options {

/// A bash completion for gcctl: commands, subcommands and options; file names elsewhere.
[[nodiscard]] std::string bash_completion(std::span<const Manual> commands);

}  // namespace gc::options

// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "options/manual.h"
#include "receive/options.h"

#include <optional>
#include <span>
#include <string>

namespace gc::receive {

/// `gcctl receive ARGS`. @return the exit status
int command(std::span<const std::string> arguments);

/// Its options; nullopt after --help. Errors: usage.
Result<std::optional<Options>> parse(std::span<const std::string> arguments);

/// The options, for help, man page and completion.
options::Manual manual();

}  // namespace gc::receive

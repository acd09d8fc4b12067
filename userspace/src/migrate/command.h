// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "migrate/options.h"
#include "options/manual.h"

#include <optional>
#include <span>
#include <string>

namespace gc::migrate {

/// `gcctl migrate ARGS`. @return the exit status
int command(std::span<const std::string> arguments);

/// Its options; nullopt after --help. Errors: usage.
Result<std::optional<Options>> parse(std::span<const std::string> arguments);

/// `gcctl proxy ARGS`. @return the exit status
int proxy_command(std::span<const std::string> arguments);
options::Manual proxy_manual();

/// The options, for help, man page and completion.
options::Manual manual();

}  // namespace gc::migrate

// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "options/manual.h"

#include <span>

namespace gc::options {

/// The man page of a command in section 8, as roff (man(7)). @param version of gcctl
[[nodiscard]] std::string man_page(const Manual& command, std::string_view version);

/// gcctl.8: the commands and what they have in common.
[[nodiscard]] std::string man_page(std::span<const Manual> commands, std::string_view version);

}  // namespace gc::options

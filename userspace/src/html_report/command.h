// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <span>
#include <string>

namespace gc::html_report {

/// `gcctl report ARGS`. @return the exit status
int command(std::span<const std::string> arguments);

}  // namespace gc::html_report

// SPDX-License-Identifier: GPL-2.0-or-later
// Tries something in a process of its own, which may hang, or give up privileges.
#pragma once

#include "util/error.h"

#include <chrono>
#include <functional>
#include <string>

namespace gc::doctor {

/// Runs `work` in a child process and returns its text. Errors: io, also if the child takes longer
/// than `limit`; it is killed then.
Result<std::string> in_child(const std::function<std::string()>& work,
                             std::chrono::milliseconds limit);

}  // namespace gc::doctor

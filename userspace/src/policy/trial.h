// SPDX-License-Identifier: GPL-2.0-or-later
// Tries in a child process what may crash: libbpf before 1.3 trusts the numbers in an object file.
#pragma once

#include "util/error.h"

#include <functional>
#include <string>

namespace gc::policy {

/// Calls `attempt` in a child without capabilities, which ends with it. The child must not wait for
/// anything, and has some seconds of CPU time.
/// Errors: unsupported, if the child did not come to its end; io, if there is no child.
/// @param name what is tried, for the message
Result<void> try_in_child(const std::string& name, const std::function<void()>& attempt);

}  // namespace gc::policy

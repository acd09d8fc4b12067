// SPDX-License-Identifier: GPL-2.0-or-later
// A policy's values in the form that policy_key.h takes.
#pragma once

#include "policy/policy.h"

#include <string>
#include <utility>
#include <vector>

namespace gc::policy {

/// All keys except `link`, with their values: "class.guide.weight", "16". Setting them in order
/// recreates the policy.
std::vector<std::pair<std::string, std::string>> values_of(const Policy& policy);

}  // namespace gc::policy

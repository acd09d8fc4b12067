// SPDX-License-Identifier: GPL-2.0-or-later
// A policy's values as policy_key.h takes them.
#pragma once

#include "policy/policy.h"

#include <string>
#include <utility>
#include <vector>

namespace gc::policy {

/// All keys but `link`, each with its value: "class.guide.weight", "16". Set one after the other
/// they make the same policy again.
std::vector<std::pair<std::string, std::string>> values_of(const Policy& policy);

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
// Policies in TOML.
#pragma once

#include "policy/policy.h"

namespace gc::policy {

/// What the text does not set is as in a default Policy.
/// @param name of the file, for messages and the policy's own
/// Errors: usage, "NAME:LINE: ...".
Result<Policy> parse_policy(std::string_view text, const std::string& name);

}  // namespace gc::policy

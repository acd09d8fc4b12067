// SPDX-License-Identifier: GPL-2.0-or-later
// Policies in TOML.
#pragma once

#include "policy/policy.h"

namespace gc::policy {

/// Values that the text does not set are those of a default Policy.
/// @param name name of the file, for messages and for the policy
/// Errors: usage, "NAME:LINE: ...".
Result<Policy> parse_policy(std::string_view text, const std::string& name);

}  // namespace gc::policy

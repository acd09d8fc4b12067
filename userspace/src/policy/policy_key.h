// SPDX-License-Identifier: GPL-2.0-or-later
// The keys of a policy in files and on the command line.
#pragma once

#include "policy/policy.h"

#include <string_view>

namespace gc::policy {

/// Sets the value of a key such as "link", "tenants.window" or "class.guide.dscp".
/// Errors: usage, if the key is unknown (the message lists the keys) or the value is invalid.
Result<void> set_key(Policy& policy, std::string_view key, std::string_view text);

/// A DSCP in the form that the key `dscp` takes, by name if it has one.
std::string dscp_text(std::optional<std::uint8_t> dscp);

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
// The keys of a policy, in files and on the command line.
#pragma once

#include "policy/policy.h"

#include <string_view>

namespace gc::policy {

/// Sets what a key names, such as "link", "tenants.window" or "class.guide.dscp".
/// Errors: usage: there is no such key (which ones are, there), or the text is no value for it.
Result<void> set_key(Policy& policy, std::string_view key, std::string_view text);

/// As the key `dscp` takes it; by its name, if it has one.
std::string dscp_text(std::optional<std::uint8_t> dscp);

}  // namespace gc::policy

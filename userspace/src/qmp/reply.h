// SPDX-License-Identifier: GPL-2.0-or-later
// Members of QMP's replies.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace gc::qmp {

/// A member that is text; empty if there is no such member, or if it is something else.
[[nodiscard]] std::string text_at(const nlohmann::json& object, const char* name);

}  // namespace gc::qmp

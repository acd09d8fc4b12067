// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/reply.h"

#include <nlohmann/json.hpp>

namespace gc::qmp {

std::string text_at(const nlohmann::json& object, const char* name) {
    if (!object.is_object())
        return {};
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace gc::qmp

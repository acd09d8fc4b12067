// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/images.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gc::guide {

using nlohmann::json;

Result<std::map<std::string, unsigned, std::less<>>> backing_file_counts(qmp::Client& client) {
    GC_TRY(const json nodes, client.execute("query-named-block-nodes"));
    std::map<std::string, unsigned, std::less<>> counts;
    for (const json& node : nodes) {
        if (!node.is_object() || !node.contains("image"))
            continue;
        const json* image = &node["image"];
        if (!image->is_object() || !image->contains("filename") ||
            !(*image)["filename"].is_string())
            continue;
        const auto name = (*image)["filename"].get<std::string>();
        unsigned layers = 0;
        for (; image->is_object() && image->contains("backing-image"); ++layers)
            image = &(*image)["backing-image"];
        // The protocol node of an image has the same name and no backing file.
        counts[name] = std::max(counts[name], layers);
    }
    return counts;
}

}  // namespace gc::guide

// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/images.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

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

namespace {

/// The size that an image has for the guest; nullopt if QEMU does not say.
std::optional<std::uint64_t> virtual_size(const json& node) {
    const auto image = node.find("image");
    if (image == node.end() || !image->is_object())
        return std::nullopt;
    const auto size = image->find("virtual-size");
    return size != image->end() && size->is_number_unsigned()
               ? std::optional(size->get<std::uint64_t>())
               : std::nullopt;
}

}  // namespace

Result<std::map<std::string, std::uint64_t, std::less<>>> disk_sizes(qmp::Client& client) {
    std::map<std::string, std::uint64_t, std::less<>> sizes;
    const auto note = [&](const json& named, const char* name, const json& node) {
        const auto found = named.find(name);
        if (found == named.end() || !found->is_string() || !node.is_object())
            return;
        if (const auto size = virtual_size(node))
            sizes[found->get<std::string>()] = *size;
    };
    GC_TRY(const json nodes, client.execute("query-named-block-nodes"));
    for (const json& node : nodes)
        if (node.is_object())
            note(node, "node-name", node);
    GC_TRY(const json drives, client.execute("query-block"));
    for (const json& drive : drives)
        if (drive.is_object() && drive.contains("inserted"))
            note(drive, "device", drive["inserted"]);
    return sizes;
}

}  // namespace gc::guide

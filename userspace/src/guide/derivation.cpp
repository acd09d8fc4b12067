// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/derivation.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gc::guide {

using nlohmann::json;

namespace {

/// Whether a member of a block node refers to another node. Other string values are settings.
bool is_node_reference(const std::string& key) {
    return key == "file" || key == "backing" || key == "data-file";
}

}  // namespace

Unexpected refuse(std::string_view what, std::string_view why) {
    return fail(ErrorKind::unsupported, "{} cannot be made harmless for a guide: {}", what, why);
}

Result<void> Derivation::survey(std::span<const SourceOption> options) {
    for (const SourceOption& option : options) {
        if (option.name == "device") {
            GC_TRY(auto device, OptionList::parse(option.value, "driver"));
            devices.push_back(std::move(device));
        } else if (option.name == "blockdev") {
            GC_TRY(json node, parse_nested(option.value, "driver"));
            if (!node.contains("node-name") || !node["node-name"].is_string())
                return fail(ErrorKind::unsupported, "-blockdev {:.120}: expected a node-name",
                            option.value);
            for (const auto& [key, value] : node.items())
                if (is_node_reference(key) && value.is_string())
                    child_nodes.insert(value.get<std::string>());
            const auto name = node["node-name"].get<std::string>();
            block_nodes[name] = std::move(node);
        } else if (option.name == "machine" || option.name == "M") {
            GC_TRY(const auto machine, OptionList::parse(option.value, "type"));
            machine_has_memory_backend |= machine.has("memory-backend");
        } else if (option.name == "numa") {
            GC_TRY(const auto numa, OptionList::parse(option.value, "type"));
            machine_has_memory_backend |= numa.has("memdev");
        }
    }
    return {};
}

void Derivation::note(std::string text) {
    if (std::find(guide.notes.begin(), guide.notes.end(), text) == guide.notes.end())
        guide.notes.push_back(std::move(text));
}

int Derivation::take_fds(unsigned count) {
    const int first = next_fd_;
    next_fd_ += static_cast<int>(count);
    return first;
}

bool Derivation::wants_vnet_hdr(const OptionList& netdev) const {
    const std::string id = netdev.get("id");
    if (auto known = substitutes.vnet_hdr.find(id); known != substitutes.vnet_hdr.end())
        return known->second;
    const std::string type = netdev.get("type");
    if (type != "tap" && type != "bridge")
        return false;  // only these two types have the header (7.2)
    if (netdev.has("vnet_hdr"))
        return netdev.is_on("vnet_hdr");
    const bool by_fd = std::any_of(
        netdev.entries().begin(), netdev.entries().end(), [](const OptionList::Entry& entry) {
            return entry.first == "fd" || entry.first == "fds" || entry.first.starts_with("fds.");
        });
    if (!by_fd || netdev.is_on("vhost"))
        return true;  // the default of net_init_tap() (net/tap.c), and required by vhost
    return std::any_of(devices.begin(), devices.end(), [&](const OptionList& device) {
        return device.get("netdev") == id && device.get("driver").starts_with("virtio-net");
    });
}

}  // namespace gc::guide

// SPDX-License-Identifier: GPL-2.0-or-later
// What a destination tells the source of its QEMU, so that both can be compared before anything is
// touched.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace gc::peer {

struct VmFacts {
    struct Block {
        std::string name;
        std::uint64_t length = 0;      ///< bytes in use
        std::uint64_t max_length = 0;  ///< bytes
        std::uint64_t page_size = 0;   ///< bytes, of the host page behind it
        std::string file;              ///< identifies shared memory on its host; else empty
    };

    using Devices = std::map<std::string, std::uint64_t>;  ///< QEMU's type -> how many

    std::string qemu;     ///< its version without the last part, "7.2"
    std::string machine;  ///< with its version, "pc-q35-7.2"
    std::uint64_t cpus = 0;
    std::string cpu_model;     ///< QEMU's type, "qemu64-x86_64-cpu"
    std::string cpu_features;  ///< comparable; empty if QEMU does not say
    std::vector<Block> blocks;
    Devices devices;   ///< those that were asked for
    Devices board;     ///< those that the machine has by itself
    std::string host;  ///< identifies the host and its boot
};

[[nodiscard]] nlohmann::ordered_json to_json(const VmFacts& facts);
/// Never throws. Errors: protocol.
[[nodiscard]] Result<VmFacts> vm_facts_from_json(const nlohmann::ordered_json& json);

}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
// What a destination tells the source of its QEMU, so that both can be compared before anything is
// touched.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
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

    /// A disk with a medium. Its firmware's flash is none: QEMU migrates its content.
    struct Disk {
        std::string name;        ///< of the drive, or of the guest's device
        std::string image;       ///< as QEMU calls it: a path, or "nbd://..."
        std::uint64_t size = 0;  ///< bytes, as the guest sees it
        bool read_only = false;
        std::string storage;          ///< "local", "shared" (by hosts), "device"; empty if unknown
        std::string file;             ///< identifies it on its host; empty for network protocols
        std::uint64_t inode = 0;      ///< of a file
        std::uint64_t locks = 0;      ///< on writing, held on its host; see util/file_locks.h
        std::uint64_t own_locks = 0;  ///< of these, held by its QEMU
    };

    std::string qemu;     ///< its version without the last part, "7.2"
    std::string machine;  ///< with its version, "pc-q35-7.2"
    std::uint64_t cpus = 0;
    std::string cpu_model;     ///< QEMU's type, "qemu64-x86_64-cpu"
    std::string cpu_features;  ///< comparable; empty if QEMU does not say
    std::vector<Block> blocks;
    Devices devices;   ///< those that were asked for
    Devices board;     ///< those that the machine has by itself
    std::string host;  ///< identifies the host and its boot

    // What the first gcctl of version 6 did not say.
    std::vector<std::string> capabilities;  ///< of migration, those that are on
    std::string tls_creds;                  ///< QEMU's migration parameters; empty if unset
    std::string mode;
    std::optional<std::vector<Disk>> disks;  ///< nullopt if unknown
    std::string memory;                      ///< why its host has too little memory, else empty
    std::optional<std::uint64_t> memory_slots = std::nullopt;  ///< for memory modules
    bool overcommit = false;                                   ///< it takes the VM all the same
};

[[nodiscard]] nlohmann::ordered_json to_json(const VmFacts& facts);
/// Never throws. Errors: protocol.
[[nodiscard]] Result<VmFacts> vm_facts_from_json(const nlohmann::ordered_json& json);

}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
// Parsers for the monitor's human-readable text that describes QEMU's memory layout and NICs. No
// I/O.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gc::qmp {

/// A row of x-query-ramblock (ram_block_format in QEMU's softmmu/physmem.c).
struct RamBlockLine {
    std::string name;                  ///< empty if QEMU does not migrate the block
    std::uint64_t page_size = 0;       ///< bytes, of the host page behind it
    std::uint64_t used_length = 0;     ///< bytes
    std::uint64_t max_length = 0;      ///< bytes
    std::optional<std::uint64_t> hva;  ///< since QEMU 8.2
};
Result<std::vector<RamBlockLine>> parse_ram_blocks(std::string_view text);

/// A range of guest-physical memory that maps RAM ("ram" in `info mtree -f`, neither ROM nor I/O).
struct FlatRange {
    std::uint64_t gpa = 0;
    std::uint64_t length = 0;
    std::uint64_t offset = 0;  ///< in the memory region
    std::string region;        ///< the memory region's name
};
/// The RAM ranges of the address space "memory", in ascending order of gpa.
Result<std::vector<FlatRange>> parse_flat_view(std::string_view text);

struct HostAddress {
    std::string region;
    std::uint64_t hva = 0;
};
/// Parses the reply of `gpa2hva`. Errors: protocol, quoting QEMU ("No memory is mapped at ...").
Result<HostAddress> parse_gpa2hva(std::string_view text);

/// A NIC of the guest and what it is connected to (`info network`).
struct NetworkNic {
    std::string name;     ///< of the device
    std::string mac;      ///< "52:54:00:12:34:56"
    std::string backend;  ///< its type: tap, user, vhost-user ...; empty if there is none
    std::string ifname;   ///< of a tap that QEMU opened by name
    int fd = -1;          ///< QEMU's descriptor of a tap that it was given; the first queue's
};
/// In QEMU's order. Lines that are of no NIC, and NICs on a hub, are left out: never fails.
[[nodiscard]] std::vector<NetworkNic> parse_networks(std::string_view text);

/// What a NIC is connected to, in the same text.
struct NetworkBackend {
    std::string type;     ///< tap, user, vhost-user ...
    unsigned queues = 0;  ///< pairs of queues
};
/// By the ids of the -netdev. Never fails.
[[nodiscard]] std::map<std::string, NetworkBackend> parse_backends(std::string_view text);

}  // namespace gc::qmp

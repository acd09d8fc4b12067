// SPDX-License-Identifier: GPL-2.0-or-later
// Which VM of a host goes where, and which goes first: a function of facts, without I/O.
#pragma once

#include "util/socket.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gc::evacuate {

/// A VM that has a QEMU on this host.
struct Vm {
    std::string name, uuid;
    std::uint64_t memory = 0;  ///< bytes that it may have at most
    unsigned vcpus = 1;
    int priority = 0;  ///< a higher one goes first
    /// Why it cannot be moved at all; empty: nothing is known.
    std::string unfit;
    /// For each host, why it cannot have the VM; empty: nothing is known.
    std::vector<std::string> unfit_for;
};

/// A destination. Several ports of one host share its memory.
struct Host {
    std::string uri;              ///< of its libvirt
    std::uint64_t available = 0;  ///< bytes of memory
    std::vector<Endpoint> ports;  ///< each takes one VM at a time
};

struct Facts {
    std::vector<Vm> vms;  ///< in the order in which the user named them, else by name
    std::vector<Host> hosts;
};

/// Which VM goes first. But for `given`, a higher priority goes before all else.
enum class Order : std::uint8_t {
    gain,   ///< the most vCPUs for each byte of memory
    small,  ///< the least memory
    large,  ///< the most memory
    given,  ///< as in Facts
};
/// Errors: usage.
Result<Order> parse_order(std::string_view text);
[[nodiscard]] std::string_view name(Order order);

/// Of Facts, by their indices.
struct Move {
    std::size_t vm, host;
    friend bool operator==(const Move&, const Move&) = default;
};
struct Kept {
    std::size_t vm;
    std::string reason;
};
struct Plan {
    std::vector<Move> moves;  ///< the first one first
    std::vector<Kept> kept;   ///< VMs that no host can have
};

/// What a VM needs beside its memory: for its QEMU.
inline constexpr std::uint64_t qemu_memory = std::uint64_t{128} << 20;

/// Gives the VMs to hosts, the one with the most memory first, each to the host that has the most
/// left: what is large finds room before what is small, and hosts fill evenly.
/// @param overcommit take VMs for which there seems to be no memory
[[nodiscard]] Plan make_plan(const Facts& facts, Order order, bool overcommit = false);

/// The priority in an element of a domain's metadata, such as <evacuate priority='5'/>. Errors:
/// usage.
Result<int> parse_priority(std::string_view element);

/// The rate of a migration that starts now, of a budget that all those in progress share.
/// @param used what the others have @param starting how many start now or soon, this included
[[nodiscard]] std::uint64_t share_of(std::uint64_t budget, std::uint64_t used,
                                     std::size_t starting);

}  // namespace gc::evacuate

// SPDX-License-Identifier: GPL-2.0-or-later
// The network devices of this namespace, and the one by which a migration's packets leave.
#pragma once

#include "net/netlink.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gc::net {

struct Link {
    int index = 0;
    std::string name;
    std::string kind;       ///< "vlan", "bridge", "veth", ...; empty for hardware and lo
    unsigned arp_type = 0;  ///< ARPHRD_ETHER, ...
    int lower = 0;          ///< index of the link below a VLAN; 0 if it is in another namespace
    int master = 0;         ///< index of the bridge or bond of which this is a port, or 0
};
using Links = std::vector<Link>;

Result<Links> links(Netlink& netlink);

/// Errors: usage, if no device has this name.
Result<Link> find_link(const Links& all, std::string_view name);
/// @return nullptr if no device has this index
const Link* find_link(const Links& all, int index);

/// The link in whose queue the packets sent by `by` wait: the lower link of a VLAN, the one
/// physical port of a bridge. Errors: unsupported, for the loopback device, a bridge with several
/// physical ports, or a link without Ethernet headers.
Result<Link> wire_of(const Links& all, const Link& by);

/// Whether this thread's namespace has a device with this index.
Result<bool> link_exists(int index);

/// Sets a link up. Errors: io.
Result<void> set_up(Netlink& netlink, const Link& link);

struct ReceivedCount {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
};
/// What a link has received since it was created. Errors: io.
Result<ReceivedCount> received_by(Netlink& netlink, const Link& link);

/// Checks that gcctl's tc program can run on the link. Errors: unsupported.
Result<void> check_wire(const Link& link);

/// Bytes per second, or nullopt if the driver does not report the speed.
std::optional<std::uint64_t> speed_of(const std::string& name);

/// The index of the link by which packets to the peer of a connected TCP socket leave.
Result<int> link_towards_peer(Netlink& netlink, int socket);

}  // namespace gc::net

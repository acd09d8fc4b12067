// SPDX-License-Identifier: GPL-2.0-or-later
// The network devices of this namespace, and which of them a migration's packets leave by.
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
    std::string kind;       ///< "vlan", "bridge", "veth" ...; empty: hardware (and lo)
    unsigned arp_type = 0;  ///< ARPHRD_ETHER ...
    int lower = 0;          ///< index of the link below a VLAN, if it is in this namespace; else 0
    int master = 0;         ///< index of the bridge or bond that it is a port of; else 0
};
using Links = std::vector<Link>;

Result<Links> links(Netlink& netlink);

/// Errors: usage, if there is none of this name.
Result<Link> find_link(const Links& all, std::string_view name);
/// @return the link, or null
const Link* find_link(const Links& all, int index);

/// The link whose queue a packet waits in that is sent by `by`: of a VLAN its lower link, of a
/// bridge its one physical port. Errors: unsupported: the loopback, a bridge with several such
/// ports, a link without Ethernet headers.
Result<Link> wire_of(const Links& all, const Link& by);

/// Whether there is one of this index in this thread's namespace.
Result<bool> link_exists(int index);

/// A link that a tc program of ours can work on. Errors: unsupported.
Result<void> check_wire(const Link& link);

/// Bytes per second; none if the driver does not say.
std::optional<std::uint64_t> speed_of(const std::string& name);

/// Index of the link that packets to the peer of a connected TCP socket leave by.
Result<int> link_towards_peer(Netlink& netlink, int socket);

}  // namespace gc::net

// SPDX-License-Identifier: GPL-2.0-or-later
// Queueing disciplines, in the form in which the kernel dumps and accepts them.
#pragma once

#include "net/netlink.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gc::net {

struct Qdisc {
    std::uint32_t handle = 0;  ///< 0 for the kernel's default, which nobody configured
    std::uint32_t parent = 0;
    std::string kind;
    std::vector<std::byte> options;  ///< TCA_OPTIONS, not interpreted
    bool has_options = false;
    bool has_extras = false;  ///< has a size table or shared filter blocks
    bool operator==(const Qdisc&) const = default;
};

/// "htb 1:"
std::string name_of(const Qdisc& qdisc);

Result<std::vector<Qdisc>> qdiscs(Netlink& netlink, int link);

/// Puts a qdisc in the place that its parent names, replacing the present one.
Result<Answer> put_qdisc(Netlink& netlink, int link, const Qdisc& qdisc);
/// The kernel then installs its default.
Result<Answer> remove_root_qdisc(Netlink& netlink, int link);

Result<void> remove_clsact(Netlink& netlink, int link);

struct Filter {
    std::uint32_t priority = 0;
    std::uint32_t handle = 0;
    std::uint32_t chain = 0;
    std::string kind;
};

/// The filters at a qdisc, or at the ingress or egress of clsact. Within a chain they are in the
/// order in which they see packets.
Result<std::vector<Filter>> filters(Netlink& netlink, int link, std::uint32_t parent);

}  // namespace gc::net

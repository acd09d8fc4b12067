// SPDX-License-Identifier: GPL-2.0-or-later
// Queueing disciplines as the kernel dumps them, and back.
#pragma once

#include "net/netlink.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gc::net {

struct Qdisc {
    std::uint32_t handle = 0;  ///< 0: the kernel's default, which nobody configured
    std::uint32_t parent = 0;
    std::string kind;
    std::vector<std::byte> options;  ///< TCA_OPTIONS, uninterpreted
    bool has_options = false;
    bool has_extras = false;  ///< a size table or shared filter blocks
    bool operator==(const Qdisc&) const = default;
};

/// "htb 1:"
std::string name_of(const Qdisc& qdisc);

Result<std::vector<Qdisc>> qdiscs(Netlink& netlink, int link);

/// Puts a qdisc where its parent says, in place of what is there.
Result<Answer> put_qdisc(Netlink& netlink, int link, const Qdisc& qdisc);
/// The kernel's default comes back.
Result<Answer> remove_root_qdisc(Netlink& netlink, int link);

Result<void> remove_clsact(Netlink& netlink, int link);

struct Filter {
    std::uint32_t priority = 0;
    std::uint32_t handle = 0;
    std::uint32_t chain = 0;
    std::string kind;
};

/// The filters at a qdisc, or at clsact's ingress or egress; within a chain in the order in which
/// they see packets.
Result<std::vector<Filter>> filters(Netlink& netlink, int link, std::uint32_t parent);

}  // namespace gc::net

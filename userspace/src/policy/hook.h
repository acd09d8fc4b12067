// SPDX-License-Identifier: GPL-2.0-or-later
// A tc program at a NIC's egress. With tcx (since 6.6) it runs before all others. Otherwise it is a
// clsact filter with the lowest priority that accepts it. Within a priority cls_bpf puts new
// filters first (cls_bpf_change(), 6.1). The filter therefore comes after filters of priority 1
// that are of another kind or were added later, and does not see packets that they decide about.
#pragma once

#include "net/netlink.h"
#include "util/fd.h"

#include <optional>
#include <string>

namespace gc::policy {

struct TcxLink {
    UniqueFd fd;  ///< the program stays attached while this or a pin of it exists
};

/// Errors: io. @return nullopt if this kernel has no tcx
Result<std::optional<TcxLink>> attach_tcx(int program, int link);
/// Whether a tcx link is still attached to a device.
bool tcx_alive(int link_fd);

/// Whether the device has a clsact qdisc.
Result<bool> has_clsact(net::Netlink& netlink, int link);
/// Errors: unsupported (no cls_bpf, or an ingress qdisc in the place of clsact), io.
Result<void> attach_clsact(int program, int link);
/// Removes our filter with this program, if present. Also removes clsact, if that was ours and has
/// no other filters.
Result<void> detach_clsact(net::Netlink& netlink, int program, int link, bool own_clsact);
/// Whether our filter with this program is present.
bool clsact_attached(int program, int link);
/// Other filters that see packets before ours ("bpf of priority 1"), or empty.
Result<std::string> filters_before(net::Netlink& netlink, int program, int link);

}  // namespace gc::policy

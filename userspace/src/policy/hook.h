// SPDX-License-Identifier: GPL-2.0-or-later
// A tc program at a NIC's egress: by tcx where the kernel has it (6.6 on), before everybody else's;
// else by clsact and a filter of the lowest priority that takes it. Within a priority cls_bpf puts
// what is new first (cls_bpf_change(), 6.1), so the filter comes after those of priority 1 that are
// of another kind, or that come later, and sees no packet that they decide about.
#pragma once

#include "net/netlink.h"
#include "util/fd.h"

#include <optional>
#include <string>

namespace gc::policy {

struct TcxLink {
    UniqueFd fd;  ///< the program is attached while this, or a pin of it, exists
};

/// Errors: io. @return none: this kernel has no tcx
Result<std::optional<TcxLink>> attach_tcx(int program, int link);
/// Whether a tcx link is still at a device.
bool tcx_alive(int link_fd);

/// Whether the device has a clsact qdisc.
Result<bool> has_clsact(net::Netlink& netlink, int link);
/// Errors: unsupported: no cls_bpf, an ingress qdisc in clsact's place; io.
Result<void> attach_clsact(int program, int link);
/// Takes away our filter of this program, if it is there; and clsact too, if that was ours and
/// nobody else has a filter there.
Result<void> detach_clsact(net::Netlink& netlink, int program, int link, bool own_clsact);
/// Whether our filter with this program is there.
bool clsact_attached(int program, int link);
/// Others' filters that see packets before ours: "bpf of priority 1"; empty: none.
Result<std::string> filters_before(net::Netlink& netlink, int program, int link);

}  // namespace gc::policy

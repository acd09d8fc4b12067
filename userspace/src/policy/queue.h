// SPDX-License-Identifier: GPL-2.0-or-later
// Replaces a NIC's qdisc with fq, which holds packets until their departure time, and restores the
// old one afterwards.
//
//   fq at the root       stays unchanged
//   default (handle 0:)  is removed; the kernel recreates it when fq is deleted
//   classless            is saved as the kernel dumps it, and restored from that
//   mq                   gets fq under each of its classes. Deleting a child of mq leaves a hole
//                        that drops everything, so mq itself is recreated at the end
//   anything else        is refused: its classes and filters could not be restored
#pragma once

#include "net/qdisc.h"

#include <optional>

namespace gc::policy {

struct QueuePlan {
    /// The qdisc at the root, and those below it if it is mq. Not set if there is nothing to do.
    std::optional<net::Qdisc> root;
    std::vector<net::Qdisc> children;
    bool operator==(const QueuePlan&) const = default;
};

/// Whether fq schedules the packets that leave by a device. @param qdiscs all qdiscs of the device
bool has_fq(const std::vector<net::Qdisc>& qdiscs);

/// @param qdiscs all qdiscs of the device
/// Errors: unsupported, if one of them cannot be restored.
Result<QueuePlan> plan_queue(const std::string& device, const std::vector<net::Qdisc>& qdiscs);

/// Reads the qdiscs of a device, and also checks their filters.
Result<QueuePlan> plan_queue(net::Netlink& netlink, const std::string& device, int link);

/// Errors: unsupported, if the kernel has no fq; io.
Result<void> apply(net::Netlink& netlink, int link, const QueuePlan& plan);

/// Restores the previous qdiscs, also after an apply() that failed or was killed midway. Leaves
/// alone what somebody else has installed in place of fq.
Result<void> restore(net::Netlink& netlink, int link, const QueuePlan& plan);

}  // namespace gc::policy

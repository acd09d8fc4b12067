// SPDX-License-Identifier: GPL-2.0-or-later
// fq on a NIC, which holds packets back until their departure time, in place of what is there, and
// that put back afterwards.
//
//   fq at the root              stays as it is
//   a default (handle 0:)       goes, and the kernel makes it again when fq is deleted
//   a classless one of somebody is saved as the kernel dumps it, and put back so
//   mq                          fq under each of its classes. A child of mq that is deleted leaves
//   a
//                               hole that drops everything, so mq itself is made again at the end
//   anything else               is refused: its classes and filters could not be put back
#pragma once

#include "net/qdisc.h"

#include <optional>

namespace gc::policy {

struct QueuePlan {
    /// What was at the root, and below it if that is mq. None: nothing is to be done.
    std::optional<net::Qdisc> root;
    std::vector<net::Qdisc> children;
    bool operator==(const QueuePlan&) const = default;
};

/// Whether fq holds back what leaves by a device. @param qdiscs all of the device
bool has_fq(const std::vector<net::Qdisc>& qdiscs);

/// @param qdiscs all of the device
/// Errors: unsupported, if one of them cannot be put back.
Result<QueuePlan> plan_queue(const std::string& device, const std::vector<net::Qdisc>& qdiscs);

/// The same for a device, whose qdiscs' filters are looked at too.
Result<QueuePlan> plan_queue(net::Netlink& netlink, const std::string& device, int link);

/// Errors: unsupported, if the kernel has no fq; io.
Result<void> apply(net::Netlink& netlink, int link, const QueuePlan& plan);

/// Puts back what was there. What somebody else has put in fq's place meanwhile stays.
/// After an apply() that failed or was killed in the middle as well.
Result<void> restore(net::Netlink& netlink, int link, const QueuePlan& plan);

}  // namespace gc::policy

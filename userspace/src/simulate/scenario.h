// SPDX-License-Identifier: GPL-2.0-or-later
// What a simulated migration meets: the link, the hosts, and how it is to be done. docs/scaling.md
// tells what is made of it, and what not.
#pragma once

#include "transfer/bulk_window.h"

#include <chrono>
#include <cstdint>
#include <optional>

namespace gc::simulate {

/// Simulated. It begins with the first VM's switch-over, at Time{}.
using Time = transfer::BulkWindow::Clock::time_point;
using Duration = transfer::BulkWindow::Clock::duration;

/// What software takes, as far as VMs or channels wait for it.
struct Costs {
    /// From a vCPU's access to the request at its host's gcctl.
    Duration fault = std::chrono::microseconds(20);
    /// All that a request meets but the link: both gcctls.
    Duration serve = std::chrono::microseconds(30);
    /// The destination's QEMU places a page. A channel's pages one after the other.
    Duration install = std::chrono::nanoseconds(1500);
    /// What a first touch costs the guide.
    Duration capture = std::chrono::microseconds(1);
    /// QEMU loads the device state: the guide's, and the destination's.
    Duration load = std::chrono::milliseconds(5);
};

struct Scenario {
    /// Bytes per second that are left for migrations.
    double link = 0;
    /// Of these, all but urgent: at most so many, by the policy.
    double guide_rate = 0;
    double background_rate = 0;
    /// Whether the queue before the link knows the classes: urgent first, and what is asked for
    /// overtakes. Else all wait in one line.
    bool by_class = true;
    /// Of that line: what the guide's pages may fill of it.
    Duration queue = std::chrono::milliseconds(10);
    /// Bytes that the link carries at once when it was idle before, as a token bucket does.
    std::uint64_t burst = 0;
    Duration rtt{0};
    /// Bytes on the wire for one of TCP's: Ethernet's, IPv4's and its own heads at an MTU of 1500.
    double wire = 1538.0 / 1448;

    unsigned vms = 1;
    /// Between one VM's switch-over and the next's.
    Duration stagger = std::chrono::milliseconds(10);

    bool guide = true;
    std::uint32_t lead = 4096;    ///< pages
    std::uint64_t bandwidth = 0;  ///< of each VM, bytes per second for all but urgent; 0: no limit
    Duration hold_background{0};  ///< once the VM runs
    /// From switch-over until the VM runs. None: its device state crosses the link and is loaded,
    /// and the two phases of the commit take a round trip each.
    std::optional<Duration> downtime;
    Costs costs;
};

}  // namespace gc::simulate

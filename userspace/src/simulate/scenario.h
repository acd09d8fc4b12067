// SPDX-License-Identifier: GPL-2.0-or-later
// The conditions of a simulated migration: the link, the hosts and the options of gcctl.
// docs/guides/simulate.md tells what is modelled and what is not.
#pragma once

#include "transfer/bulk_window.h"

#include <chrono>
#include <cstdint>
#include <optional>

namespace gc::simulate {

/// Simulated time. It starts with the first VM's switch-over, at Time{}.
using Time = transfer::BulkWindow::Clock::time_point;
using Duration = transfer::BulkWindow::Clock::duration;

/// The time that software takes, as far as VMs or channels wait for it.
struct Costs {
    /// From a vCPU's access to the request at its host's gcctl.
    Duration fault = std::chrono::microseconds(20);
    /// Everything on the way of a request except the link: both gcctls.
    Duration serve = std::chrono::microseconds(30);
    /// The destination's QEMU places a page. Pages of one channel are placed one after the other.
    Duration install = std::chrono::nanoseconds(1500);
    /// How much a first touch delays the guide.
    Duration capture = std::chrono::microseconds(1);
    /// A QEMU loads the device state, in the guide and at the destination.
    Duration load = std::chrono::milliseconds(5);
};

struct Scenario {
    /// Bytes per second left for migrations.
    double link = 0;
    /// The policy's limits for all but urgent pages, in bytes per second.
    double guide_rate = 0;
    double background_rate = 0;
    /// Whether the queue in front of the link knows the classes: urgent pages go first, and
    /// requested pages overtake. Otherwise there is one queue for all.
    bool by_class = true;
    /// How much of that single queue guide pages may fill.
    Duration queue = std::chrono::milliseconds(10);
    /// Bytes that an idle link carries at once, as a token bucket does.
    std::uint64_t burst = 0;
    Duration rtt{0};
    /// Bytes on the wire for each byte of TCP payload: Ethernet, IPv4 and TCP headers, MTU 1500.
    double wire = 1538.0 / 1448;

    unsigned vms = 1;
    /// Between one VM's switch-over and the next's.
    Duration stagger = std::chrono::milliseconds(10);

    bool guide = true;
    std::uint32_t lead = 4096;    ///< pages
    std::uint64_t bandwidth = 0;  ///< each VM's bytes per second for all but urgent; 0: no limit
    Duration hold_background{0};  ///< from the time the VM runs
    /// From switch-over until the VM runs. Default: the device state crosses the link and is
    /// loaded, and each of the two phases of the commit takes a round trip.
    std::optional<Duration> downtime;
    Costs costs;
};

}  // namespace gc::simulate

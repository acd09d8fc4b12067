// SPDX-License-Identifier: GPL-2.0-or-later
// What a migration leaves behind: the JSON of `gcctl migrate --report` and the table on the
// terminal.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gc::report {

/// Counts of one thing for each class that a page can be sent in (pages of 4 KiB, or bytes).
struct ClassCounts {
    std::uint64_t total = 0;
    std::uint64_t precopy = 0;
    std::uint64_t urgent = 0;
    std::uint64_t guide = 0;
    std::uint64_t warm = 0;  ///< next to demand faults (NextReport), or of the hot set (--hot)
    std::uint64_t background = 0;
    std::uint64_t zero = 0;  ///< of these, sent as a zero marker: counted in its class as well
};

/// What the guide's machine sent on its NICs. Nothing of it left the quarantine.
struct SentReport {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t arp = 0;  ///< of the packets; these four are all 0 if `dropped_by` is "namespace"
    std::uint64_t ipv4 = 0;
    std::uint64_t ipv6 = 0;
    std::uint64_t other = 0;
    std::string dropped_by = "none";  ///< ebpf | namespace | none: there was no guide
};

struct GuideReport {
    bool started = false;
    double load_ms = 0;              ///< switch-over's device state in hand -> guide runs
    double waited_ms = 0;            ///< the rest of the device state for the guide to run
    std::uint64_t records = 0;       ///< first touches captured
    std::uint64_t pushed = 0;        ///< pages sent because the guide touched them
    std::uint64_t dropped = 0;       ///< records lost: always 0
    double blocked_ms = 0;           ///< time that the guide waited for room in the ring
    std::uint64_t memory_bytes = 0;  ///< at most: copies of the VM's pages, and its process's own
    SentReport sent;
    std::string ended = "off";  ///< complete | diverged | died | memory-limit | refused | off
    std::string reason;         ///< one sentence, empty for complete and off
};

/// What --next-pages did.
struct NextReport {
    std::uint64_t pages = 0;  ///< to be sent ahead after each demand fault; 0: off
    std::uint64_t sent = 0;   ///< that were: a part of pages.warm
};

/// The hot set of --hot.
struct HotReport {
    std::string from = "off";  ///< off | auto | the trace's file
    std::uint64_t pages = 0;   ///< in it; sent for it were pages.warm less next.sent, the others
                               ///< went before
    std::string reason;        ///< why there is none, though it was asked for
};

/// What `gcctl receive --measure` saw, in pages of guest RAM that the VM touched at the
/// destination.
struct MeasureReport {
    double time_ms = 0;       ///< from the VM's first moment there
    ClassCounts touched;      ///< by the class that they were sent in; zero: not known of pre-copy
    std::uint64_t asked = 0;  ///< of those, requested by the destination: on its way or not
    std::optional<double> coverage;  ///< of the touched but for pre-copy: not requested; 0 to 1
    std::optional<double> accuracy;  ///< of the pages that the guide had sent: touched; 0 to 1
    std::uint64_t waste_bytes = 0;   ///< page data that the guide had sent and nobody touched
    std::uint64_t unresolved = 0;    ///< touches that could not be related to a page
};

/// Packets of one class on the NIC while the migration ran.
struct TrafficCounts {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t drops = 0;    ///< packets
    std::uint64_t delayed = 0;  ///< GSO packets
    double delay_ms = 0;        ///< of these, together
    double delay_max_ms = 0;    ///< the longest since the policy was attached
};

/// The traffic policy.
struct PolicyReport {
    std::string name = "none";  ///< its name, or its file
    std::string device;         ///< the NIC; empty: nothing was shaped
    bool joined = false;        ///< it was there before, and stays
    std::string reason;         ///< why there is none, its counts are not known, or it broke
    std::vector<std::pair<std::string, TrafficCounts>> classes;
    TrafficCounts tenants;  ///< all but migrations
};

/// Nothing was moved: `gcctl simulate` has made the report.
struct SimulatedReport {
    std::string trace;       ///< the file that was replayed
    double trace_ms = 0;     ///< of it, from switch-over to its end
    std::uint64_t link = 0;  ///< bytes per second
    double rtt_us = 0;
    std::uint64_t vms = 0;           ///< that left at once; all counts are of all together
    std::uint64_t vcpus = 0;         ///< of all together
    std::uint64_t memory_bytes = 0;  ///< of each VM
    std::uint64_t touched = 0;       ///< pages of each VM that the trace touches
    double waited_ms = 0;  ///< of all vCPUs together: from an access to the page in its place
};

struct Report {
    std::string result = "failed";  ///< completed | failed | cancelled
    std::string error;
    std::string mode = "postcopy";  ///< guide | postcopy
    std::string capture = "none";   ///< kmod | none
    double downtime_ms = 0;         ///< source STOP -> word of the destination's RESUME is here
    double total_ms = 0;            ///< migrate command -> destination completed
    ClassCounts pages;
    ClassCounts bytes;
    nlohmann::json demand;  ///< Demand::to_json() of the destination
    GuideReport guide;
    NextReport next;
    HotReport hot;
    PolicyReport policy;
    std::optional<MeasureReport> measured;
    std::optional<SimulatedReport> simulated;
    std::string source_qemu;
    std::string destination_qemu;
    std::string kernel;

    [[nodiscard]] nlohmann::json to_json() const;
    /// A table for people, lines ended by '\n'.
    [[nodiscard]] std::string summary() const;
};

/// Writes the report to a file, whole or not at all (a temporary name, then rename). Errors: io.
Result<void> write_report(const Report& report, const std::string& path);

}  // namespace gc::report

// SPDX-License-Identifier: GPL-2.0-or-later
// The one description of the report: what each member is called in JSON and what it means. Writer,
// reader and schema (report/json.cpp) walk it. `gcctl report --schema` prints it.
//
// describe(T*, field) calls, for each member of T in the file's order,
//     field(name, &T::member, meaning[, Presence]);
#pragma once

#include "report/report.h"

namespace gc::report {

enum class Presence : std::uint8_t {
    always,
    later,  ///< newer than the first gcctl that wrote this schema: older files lack it
};

/// The JSON names of an enum, in its order.
template <typename Enum> struct Names;
template <> struct Names<Outcome> {
    static constexpr std::array<std::string_view, 3> list{"completed", "failed", "cancelled"};
};
template <> struct Names<Mode> {
    static constexpr std::array<std::string_view, 2> list{"guide", "postcopy"};
};
template <> struct Names<Capture> {
    static constexpr std::array<std::string_view, 3> list{"kmod", "userfault", "none"};
};
template <> struct Names<GuideEnd> {
    static constexpr std::array<std::string_view, 6> list{"complete",     "diverged", "died",
                                                          "memory-limit", "refused",  "off"};
};
template <> struct Names<PrecopyEnd> {
    static constexpr std::array<std::string_view, 7> list{
        "off", "rounds", "time", "bytes", "no-gain", "little-left", "converged"};
};
template <> struct Names<CompressMode> {
    static constexpr std::array<std::string_view, 4> list{"auto", "off", "lz4", "zstd"};
};
template <> struct Names<DroppedBy> {
    static constexpr std::array<std::string_view, 3> list{"ebpf", "namespace", "none"};
};

template <> struct Names<Protection> {
    static constexpr std::array<std::string_view, 4> list{"none", "tls", "loopback", "insecure"};
};

template <typename Field> void describe(DemandTimeline*, Field&& field) {
    using T = DemandTimeline;
    field("step_ms", &T::step_ms, "width of a step");
    field("counts", &T::counts, "faults in each step, from the arrival of the device state on");
}

template <typename Field> void describe(DemandReport*, Field&& field) {
    using T = DemandReport;
    field("faults", &T::faults, "distinct pages that the destination had to request");
    field("stall_ms", &T::stall_ms,
          "sum over all faults: request seen at the destination host to page handed to its QEMU");
    field("p50_us", &T::p50_us, "median stall: the upper bound of its histogram bucket");
    field("p99_us", &T::p99_us, "99th percentile of the stalls, likewise");
    field("p999_us", &T::p999_us, "99.9th percentile of the stalls, likewise");
    field("histogram_us", &T::histogram_us,
          "stalls of [2^i, 2^(i+1)) us; the first bucket also counts shorter ones, the last longer "
          "ones (as QEMU's postcopy-latency-dist)");
    field("timeline", &T::timeline, "when the faults happened", Presence::later);
    field("local", &T::local,
          "distinct pages that its QEMU requested and the destination gave by itself, as they were "
          "told as zeros; not among the faults",
          Presence::later);
    field("local_ms", &T::local_ms, "sum over these, as stall_ms", Presence::later);
}

template <typename Field> void describe(PrecopyReport*, Field&& field) {
    using T = PrecopyReport;
    field("ended", &T::ended, "why pre-copy was over; \"off\": there was none");
    field("rounds_ms", &T::rounds_ms,
          "with --precopy auto or --precopy-rounds: when each round was seen to begin");
    field("remaining_bytes", &T::remaining_bytes, "what was left to send then");
}

template <typename Field> void describe(ZerosReport*, Field&& field) {
    using T = ZerosReport;
    field("pages", &T::pages,
          "pages that were never written, told in runs and placed by the destination itself; part "
          "of pages.zero");
    field("runs", &T::runs, "number of runs");
}

template <typename Field> void describe(CompressReport*, Field&& field) {
    using T = CompressReport;
    field("mode", &T::mode, "--compress");
    field("reason", &T::reason, "why nothing could be compressed although it was asked for");
    field("bytes", &T::bytes, "what was sent compressed, before that");
    field("sent", &T::sent, "what it took on the wire; the difference is what was saved");
    field("cpu_ms", &T::cpu_ms,
          "CPU time that the source took to compress, and to find what does not shrink");
}

template <typename Field> void describe(QemuPostcopyReport*, Field&& field) {
    using T = QemuPostcopyReport;
    field("blocktime_ms", &T::blocktime_ms, "time in which all vCPUs waited for pages at once");
    field("vcpu_blocktime_ms", &T::vcpu_blocktime_ms, "time in which each vCPU waited for pages");
    field("latency_ns", &T::latency_ns, "average time from a page fault to its page");
    field("latency_dist", &T::latency_dist,
          "faults that took [2^i, 2^(i+1)) us: QEMU's postcopy-latency-dist");
    field("vcpu_latency_ns", &T::vcpu_latency_ns, "average of the faults of each vCPU");
    field("non_vcpu_latency_ns", &T::non_vcpu_latency_ns,
          "average of the faults of QEMU's other threads");
}

template <typename Field> void describe(SentReport*, Field&& field) {
    using T = SentReport;
    field("packets", &T::packets, "packets that the guide sent into its quarantine");
    field("bytes", &T::bytes, "their bytes");
    field("arp", &T::arp, "ARP packets; 0, like the next three, if dropped_by is \"namespace\"");
    field("ipv4", &T::ipv4, "IPv4 packets");
    field("ipv6", &T::ipv6, "IPv6 packets");
    field("other", &T::other, "all other packets");
    field("dropped_by", &T::dropped_by, "what kept the packets in; \"none\": there was no guide");
}

template <typename Field> void describe(MirrorReport*, Field&& field) {
    using T = MirrorReport;
    field("on", &T::on, "the guide was shown a copy of what arrived for the VM at the destination");
    field("reason", &T::reason, "why not, or not of all NICs; else empty");
    field("nics", &T::nics, "NICs of which it was shown that");
    field("packets", &T::packets, "packets shown to the guide");
    field("bytes", &T::bytes, "their bytes");
    field("again", &T::again, "TCP segments shown once more, since the guide had not taken them");
    field(
        "dropped", &T::dropped,
        "packets not shown: of connections that had lost one, and others for which a queue had no "
        "room");
    field("connections", &T::connections, "TCP connections on which a client sent something");
    field("in_step", &T::in_step,
          "of them, connections whose data the guide took, and that were not lost");
    field("dead", &T::dead,
          "of them, connections that were lost: the guide reset them, or a packet was missing");
}

template <typename Field> void describe(GuideReport*, Field&& field) {
    using T = GuideReport;
    field("started", &T::started, "the guide ran");
    field("load_ms", &T::load_ms, "from the device state in hand to the guide running",
          Presence::later);
    field("waited_ms", &T::waited_ms, "how long the rest of the device state waited for the guide",
          Presence::later);
    field("records", &T::records, "first touches captured");
    field("pushed", &T::pushed, "pages sent because the guide touched them");
    field("dropped", &T::dropped, "records lost; always 0");
    field("blocked_ms", &T::blocked_ms, "time that the guide waited for room in the ring");
    field("memory_bytes", &T::memory_bytes,
          "peak cost of the guide: copies of the VM's pages, and its process's own memory",
          Presence::later);
    field("sent", &T::sent, "what the guide sent on its NICs; none of it left the quarantine",
          Presence::later);
    field("mirror", &T::mirror, "--mirror", Presence::later);
    field("ended", &T::ended, "how the guide ended");
    field("reason", &T::reason, "why, in one sentence; empty for \"complete\" and \"off\"");
}

template <typename Field> void describe(ForwardReport*, Field&& field) {
    using T = ForwardReport;
    field("on", &T::on, "what arrived for the VM at the source after its STOP was sent after it");
    field("reason", &T::reason, "why not, or not of all NICs, or why it ended early; else empty");
    field("nics", &T::nics, "NICs of which it was");
    field("packets", &T::packets, "packets sent to the destination");
    field("bytes", &T::bytes, "their bytes");
    field("dropped", &T::dropped, "packets not sent: no room in a queue, or too late");
    field("delivered", &T::delivered,
          "packets that the destination gave the VM's taps, as of its \"completed\"");
    field("refused", &T::refused, "packets that the taps did not take");
}

template <typename Field> void describe(NextReport*, Field&& field) {
    using T = NextReport;
    field("pages", &T::pages, "pages to send ahead after each demand fault; 0: off");
    field("sent", &T::sent, "pages sent ahead; part of pages.warm");
}

template <typename Field> void describe(HotReport*, Field&& field) {
    using T = HotReport;
    field("from", &T::from, "\"off\", \"auto\" or the trace's file");
    field("pages", &T::pages,
          "pages in the hot set; pages.warm less next.sent were sent for it, the others had been "
          "sent before");
    field("reason", &T::reason, "why there is no hot set although one was asked for");
}

template <typename Field> void describe(MeasureReport*, Field&& field) {
    using T = MeasureReport;
    field("time_ms", &T::time_ms, "from the VM's first moment at the destination");
    field("touched", &T::touched,
          "pages that the VM touched there, by the class that they were sent in; zero: not known "
          "of pre-copy");
    field("asked", &T::asked,
          "touched pages that the destination requested, whether in flight or not");
    field("coverage", &T::coverage,
          "share of the touched pages, those of pre-copy aside, that was not requested: 0 to 1");
    field("accuracy", &T::accuracy, "share of the guide's pages that the VM touched: 0 to 1");
    field("waste_bytes", &T::waste_bytes, "page data sent for the guide that the VM did not touch");
    field("unresolved", &T::unresolved, "touches that could not be related to a page");
}

template <typename Field> void describe(TrafficCounts*, Field&& field) {
    using T = TrafficCounts;
    field("packets", &T::packets, "packets on the NIC while the migration ran");
    field("bytes", &T::bytes, "their bytes");
    field("drops", &T::drops, "packets dropped");
    field("delayed", &T::delayed, "GSO packets held back");
    field("delay_ms", &T::delay_ms, "sum of their delays");
    field("delay_max_ms", &T::delay_max_ms, "the longest delay since the policy was attached");
}

template <typename Field> void describe(PolicyReport*, Field&& field) {
    using T = PolicyReport;
    field("name", &T::name, "the policy's name or file");
    field("device", &T::device, "the NIC; empty: nothing was shaped");
    field("object", &T::object, "the file of its program; empty: gcctl's own", Presence::later);
    field("joined", &T::joined, "the policy was attached before, and stays");
    field("reason", &T::reason,
          "why there is no policy, why its counts are unknown, or what broke it");
    field("classes", &T::classes, "the migration's traffic, by class");
    field("tenants", &T::tenants, "all traffic but migrations'");
}

template <typename Field> void describe(SimulatedReport*, Field&& field) {
    using T = SimulatedReport;
    field("trace", &T::trace, "the file that was replayed");
    field("trace_ms", &T::trace_ms, "length of the replayed part, from switch-over on");
    field("link", &T::link_bytes_per_s, "rate of the network link, bytes per second");
    field("rtt_us", &T::rtt_us, "round-trip time");
    field("vms", &T::vms, "VMs that leave at once; all counts are of all of them together");
    field("vcpus", &T::vcpus, "vCPUs of all VMs together");
    field("memory_bytes", &T::memory_bytes, "memory of each VM");
    field("touched", &T::touched, "pages of each VM that the trace touches");
    field("waited_ms", &T::waited_ms,
          "wait of all vCPUs together, from an access to the page in its place");
}

template <typename Field> void describe(SecurityReport*, Field&& field) {
    using T = SecurityReport;
    field("protection", &T::protection,
          "of the channels between the two gcctls; \"insecure\": --insecure was given");
    field("peer", &T::peer, "who the destination proved to be; empty without TLS");
    field("cipher", &T::cipher, "of the control channel; empty without TLS");
}

template <typename Field> void describe(QemuVersions*, Field&& field) {
    using T = QemuVersions;
    field("source", &T::source, "version of the source QEMU");
    field("destination", &T::destination, "version of the destination QEMU");
}

template <typename Field> void describe(Report*, Field&& field) {
    using T = Report;
    field("schema", &T::schema, "\"guidecopy.report/1\"");
    field("result", &T::result, "how the migration ended");
    field("error", &T::error, "why it did not complete; else empty");
    field("mode", &T::mode, "\"guide\" if a guide ran");
    field("capture", &T::capture, "what captured the guide's first touches");
    field("capture_reason", &T::capture_reason,
          "why that: with --capture auto, why not by the module; empty without a guide",
          Presence::later);
    field("downtime_ms", &T::downtime_ms,
          "from the STOP event at the source to the news of RESUME at the destination");
    field("total_ms", &T::total_ms, "from the migrate command to the destination's \"completed\"");
    field("pages", &T::pages, "pages of 4 KiB, by the class that they were sent in");
    field("bytes", &T::bytes, "bytes on the wire, by class");
    field("precopy", &T::precopy, "what was sent before the switch-over", Presence::later);
    field("demand", &T::demand, "what the destination had to request");
    field("zeros", &T::zeros, "zero pages without a byte for each", Presence::later);
    field("compress", &T::compress, "--compress", Presence::later);
    field("qemu_postcopy", &T::qemu_postcopy,
          "what the destination QEMU measured itself; null before QEMU 10.1", Presence::later);
    field("guide", &T::guide, "the guide");
    field("forward", &T::forward, "--forward", Presence::later);
    field("next", &T::next, "--next-pages", Presence::later);
    field("hot", &T::hot, "--hot", Presence::later);
    field("policy", &T::policy, "the traffic policy", Presence::later);
    field("security", &T::security, "what protected the VM on its way", Presence::later);
    field("connection_losses", &T::connection_losses,
          "how often a connection between the two gcctls was lost", Presence::later);
    field("disconnected_ms", &T::disconnected_ms,
          "how long at least one of their connections was missing", Presence::later);
    field("measured", &T::measured, "`gcctl receive --measure`; null without it", Presence::later);
    field("simulated", &T::simulated,
          "`gcctl simulate` made the report; null: it is of a migration", Presence::later);
    field("qemu", &T::qemu, "QEMU at both ends");
    field("kernel", &T::kernel, "release of the source's kernel");
}

}  // namespace gc::report

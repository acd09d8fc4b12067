// SPDX-License-Identifier: GPL-2.0-or-later
// What a migration leaves behind. report/description.h says what each member is, once, for the JSON
// of `gcctl migrate --report`, its reader and its schema.
#pragma once

#include "ledger/class_counts.h"
#include "report/histogram.h"
#include "util/error.h"

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gc::report {

enum class Outcome : std::uint8_t { completed, failed, cancelled };
enum class Mode : std::uint8_t { guide, postcopy };
enum class Capture : std::uint8_t { kmod, userfault, none };
enum class GuideEnd : std::uint8_t { complete, diverged, died, memory_limit, refused, off };
/// `--compress`: the values of transfer::Compress.
enum class CompressMode : std::uint8_t { automatic, off, lz4, zstd };
enum class DroppedBy : std::uint8_t { ebpf, netns, none };

/// A number above 0.
struct Positive {
    double value = 1;
};

struct DemandTimeline {
    Positive step_ms;
    std::vector<std::uint64_t> counts;
};

struct DemandReport {
    std::uint64_t faults = 0;
    double stall_ms = 0;
    std::uint64_t p50_us = 0;
    std::uint64_t p99_us = 0;
    std::uint64_t p999_us = 0;
    std::array<std::uint64_t, Histogram::buckets> histogram_us{};
    std::optional<DemandTimeline> timeline;
    std::uint64_t local = 0;
    double local_ms = 0;
};

/// What the destination was told to be zeros.
struct ZerosReport {
    std::uint64_t pages = 0;
    std::uint64_t runs = 0;
};

/// What was sent compressed.
struct CompressReport {
    CompressMode mode = CompressMode::off;
    std::string reason;
    std::uint64_t bytes = 0;
    std::uint64_t sent = 0;
    double cpu_ms = 0;
};

/// What the destination QEMU counted by itself (QEMU 10.1 and later).
struct QemuPostcopyReport {
    std::uint64_t blocktime_ms = 0;
    std::vector<std::uint64_t> vcpu_blocktime_ms;
    std::uint64_t latency_ns = 0;
    std::vector<std::uint64_t> latency_dist;
    std::vector<std::uint64_t> vcpu_latency_ns;
    std::uint64_t non_vcpu_latency_ns = 0;
};

struct SentReport {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t arp = 0;
    std::uint64_t ipv4 = 0;
    std::uint64_t ipv6 = 0;
    std::uint64_t other = 0;
    DroppedBy dropped_by = DroppedBy::none;
};

/// Why pre-copy ended.
enum class PrecopyEnd : std::uint8_t {
    off,     ///< there was none
    rounds,  ///< a limit of the user's, like the next two
    time,
    bytes,
    no_gain,      ///< a round left about as much as the one before
    little_left,  ///< the link would carry the rest in 50 ms
    converged,    ///< QEMU had sent all, and ended it
};

struct PrecopyReport {
    PrecopyEnd ended = PrecopyEnd::off;
    std::vector<std::uint64_t> rounds_ms;
    std::vector<std::uint64_t> remaining_bytes;
};

/// What the guide was shown of what arrived for its VM at the destination.
struct MirrorReport {
    bool on = false;
    std::string reason;
    std::uint64_t nics = 0;
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t again = 0;
    std::uint64_t dropped = 0;
    std::uint64_t connections = 0;
    std::uint64_t in_step = 0;
    std::uint64_t dead = 0;
};

struct GuideReport {
    bool started = false;
    double load_ms = 0;
    double waited_ms = 0;
    std::uint64_t records = 0;
    std::uint64_t pushed = 0;
    std::uint64_t dropped = 0;
    double blocked_ms = 0;
    std::uint64_t memory_bytes = 0;
    SentReport sent;
    MirrorReport mirror;
    GuideEnd ended = GuideEnd::off;
    std::string reason;
};

/// What arrived for the VM at the source after its STOP.
struct ForwardReport {
    bool on = false;
    std::string reason;
    std::uint64_t nics = 0;
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t dropped = 0;
    std::uint64_t delivered = 0;
    std::uint64_t refused = 0;
};

struct NextReport {
    std::uint64_t pages = 0;
    std::uint64_t sent = 0;
};

struct HotReport {
    std::string from = "off";
    std::uint64_t pages = 0;
    std::string reason;
};

struct MeasureReport {
    double time_ms = 0;
    ledger::ClassCounts touched;
    std::uint64_t asked = 0;
    std::optional<double> coverage;
    std::optional<double> accuracy;
    std::uint64_t waste_bytes = 0;
    std::uint64_t unresolved = 0;
};

struct TrafficCounts {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t drops = 0;
    std::uint64_t delayed = 0;
    double delay_ms = 0;
    double delay_max_ms = 0;
};

struct PolicyReport {
    std::string name = "none";
    std::string device;
    std::string object;
    bool joined = false;
    std::string reason;
    std::map<std::string, TrafficCounts> classes;
    TrafficCounts tenants;
};

struct SimulatedReport {
    std::string trace;
    double trace_ms = 0;
    std::uint64_t link_bytes_per_s = 0;
    double rtt_us = 0;
    std::uint64_t vms = 0;
    std::uint64_t vcpus = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t touched = 0;
    double waited_ms = 0;
};

/// What protected the channels between the two gcctls.
enum class Protection : std::uint8_t {
    none,      ///< there were no channels
    tls,       ///< both ends proved who they are, and bytes were encrypted
    loopback,  ///< in clear, on the loopback of one host
    insecure,  ///< in clear, because the user typed --insecure
};

struct SecurityReport {
    Protection protection = Protection::none;
    std::string peer;
    std::string cipher;
};

struct QemuVersions {
    std::string source;
    std::string destination;
};

struct Report {
    static constexpr std::string_view schema_name = "guidecopy.report/1";

    std::string schema{schema_name};
    Outcome result = Outcome::failed;
    std::string error;
    Mode mode = Mode::postcopy;
    Capture capture = Capture::none;
    std::string capture_reason;
    double downtime_ms = 0;
    double total_ms = 0;
    ledger::ClassCounts pages;
    ledger::ClassCounts bytes;
    PrecopyReport precopy;
    DemandReport demand;
    ZerosReport zeros;
    CompressReport compress;
    std::optional<QemuPostcopyReport> qemu_postcopy;
    GuideReport guide;
    ForwardReport forward;
    NextReport next;
    HotReport hot;
    PolicyReport policy;
    SecurityReport security;
    std::uint64_t connection_losses = 0;
    double disconnected_ms = 0;
    std::optional<MeasureReport> measured;
    std::optional<SimulatedReport> simulated;
    QemuVersions qemu;
    std::string kernel;
};

/// The names that JSON and text have for them.
[[nodiscard]] std::string_view name(Outcome outcome);
[[nodiscard]] std::string_view name(GuideEnd end);
[[nodiscard]] std::string_view name(PrecopyEnd end);
[[nodiscard]] std::string_view name(Capture capture);

[[nodiscard]] nlohmann::ordered_json to_json(const Report& report);
[[nodiscard]] nlohmann::ordered_json to_json(const DemandReport& demand);
[[nodiscard]] nlohmann::ordered_json to_json(const QemuPostcopyReport& figures);
/// Errors: protocol, "PLACE: expected ..., found ...". Unknown members are ignored: a later gcctl
/// may write more.
[[nodiscard]] Result<Report> report_from_json(const nlohmann::ordered_json& json);
[[nodiscard]] Result<DemandReport> demand_from_json(const nlohmann::ordered_json& json);
[[nodiscard]] Result<QemuPostcopyReport>
qemu_postcopy_from_json(const nlohmann::ordered_json& json);
/// The JSON schema (draft 2020-12) of the report.
[[nodiscard]] nlohmann::ordered_json json_schema();

/// A table for people, lines ended by '\n'.
[[nodiscard]] std::string summary(const Report& report);

/// Writes the report to a file, whole or not at all (a temporary name, then rename). Errors: io.
Result<void> write_report(const Report& report, const std::string& path);

}  // namespace gc::report

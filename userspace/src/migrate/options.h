// SPDX-License-Identifier: GPL-2.0-or-later
// The options of `gcctl migrate`.
#pragma once

#include "guide/capture_choice.h"
#include "migrate/precopy.h"
#include "migrate/ssh.h"
#include "peer/security.h"
#include "transfer/compress.h"
#include "util/socket.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gc::migrate {

/// How progress is shown.
enum class Output {
    automatic,  ///< one live line on a terminal, plain lines elsewhere
    json,       ///< one JSON object per line, on standard output
    quiet,      ///< warnings and errors only
};

/// Whether the guide is shown what arrives for the VM at the destination.
enum class Mirror : std::uint8_t {
    automatic,  ///< where that can be
    on,         ///< of all NICs, or the migration is refused
    off,
};

/// A migration that somebody else asks libvirt for.
struct ProxyOptions {
    std::string socket;                 ///< its name, see libvirt::MigrationSocket
    std::chrono::milliseconds wait{0};  ///< for libvirt to connect; 0 means forever
};

/// A VM that libvirt owns.
struct LibvirtOptions {
    std::string connect;          ///< libvirt's URI
    std::string domain;           ///< name or UUID
    std::string destination_uri;  ///< of the other host's libvirt, as this host's reaches it
    bool persistent = false;      ///< define the domain there
    bool undefine_source = false;
    bool unsafe = false;  ///< even if libvirt thinks that its disks are not shared, or are cached
    std::optional<ProxyOptions> proxy;
};

struct Options {
    std::string qmp;  ///< the source QEMU's QMP unix socket; empty with libvirt
    std::optional<LibvirtOptions> libvirt;
    Endpoint to;                    ///< where `gcctl receive` listens
    std::optional<SshOptions> ssh;  ///< if it is started through ssh; `to` is empty then
    peer::SecurityOptions security;
    PrecopyLimits precopy;
    bool guide = true;
    guide::CaptureWish capture = guide::CaptureWish::automatic;
    std::uint32_t lead = 4096;       ///< max. pages touched by the guide and not yet sent
    std::uint64_t guide_memory = 0;  ///< max. bytes that the guide takes; 0 means no limit
    std::chrono::milliseconds guide_wait{50};  ///< how long the device state waits for the guide
    /// How long the VM may stand still before the commit, besides guide_wait.
    std::chrono::milliseconds switch_over_limit{2000};
    /// How long the connection may be lost before the commit.
    std::chrono::milliseconds reconnect_limit{30'000};
    Mirror mirror = Mirror::automatic;
    bool forward = true;            ///< what arrives for the VM while it stands still
    std::uint32_t next_pages = 16;  ///< sent ahead after each demand fault; 0 disables it
    std::string hot;                ///< a trace file, "auto", or empty for no hot set
    std::uint64_t bandwidth = 0;    ///< bytes per second for all but urgent pages; 0 means no limit
    transfer::Compress compress = transfer::Compress::off;
    std::chrono::milliseconds hold_background{0};  ///< from the time the VM runs; SIGUSR1 ends it
    std::string policy = "silent";                 ///< a traffic policy's name or file, or "none"
    std::string policy_object;                     ///< a file; empty for gcctl's own program
    std::optional<std::string> policy_device;      ///< default: the NIC towards the destination
    std::optional<std::uint64_t> policy_link;  ///< bytes per second; default: what the NIC reports
    bool policy_required = false;              ///< fail if the policy cannot be attached
    bool check = false;                        ///< only check
    bool allow_differences = false;  ///< migrate even if the destination seems to be another VM
    bool kill_source = false;        ///< once the VM no longer needs it
    std::chrono::milliseconds connect_timeout{10'000};
    std::optional<std::string> report;        ///< file
    std::optional<std::string> metrics_file;  ///< for Prometheus
    Output output = Output::automatic;
    bool verbose = false;
    std::vector<std::string> arguments;  ///< the command line, for the record on disk
};

}  // namespace gc::migrate

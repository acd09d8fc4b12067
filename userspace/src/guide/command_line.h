// SPDX-License-Identifier: GPL-2.0-or-later
// Derives the guide's command line from the source's: the same machine, CPUs and devices, with
// every back end replaced by one that has no effect outside the guide. No I/O.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace gc::guide {

/// The guide's memory: a file that it maps, or memory of its own. A file must be one on which
/// fallocate(FALLOC_FL_PUNCH_HOLE) fails, as on the module's memory node: the guide keeps its
/// balloon device, whose discards would otherwise reach the source's memory
/// (ram_block_discard_range, 7.2).
struct MemoryNode {
    /// As the guide opens it: "/proc/self/fd/N" of an inherited descriptor. Empty: no file.
    std::string path;
    std::uint64_t size = 0;  ///< bytes
    bool share = false;      ///< map it shared: nobody else sees the guide's writes; else privately
};

/// What the command line does not tell. Empty maps have safe defaults, except for the memory.
struct GuideSubstitutes {
    /// Memory backend id (e.g. "pc.ram" where the source has no -object for it) -> node.
    std::map<std::string, MemoryNode, std::less<>> memory;
    /// Image file name as in the source's command line -> number of backing files below it, none of
    /// which must be locked. Not needed where -blockdev gives the chain.
    std::map<std::string, unsigned, std::less<>> backing_files;
    /// Node name, or id of a -drive -> size in bytes. For disks that a guide must not open.
    std::map<std::string, std::uint64_t, std::less<>> disk_sizes;
    /// Argument of -readconfig -> the file's text.
    std::map<std::string, std::string, std::less<>> config_files;
    /// Netdev id -> whether the source's tap has IFF_VNET_HDR. Needed only for a tap passed as a
    /// descriptor (fd=). Default: as libvirt does, on with virtio-net and off with other NICs.
    std::map<std::string, bool, std::less<>> vnet_hdr;
    /// Options of what was plugged in since the start; see guide/hotplug.h.
    std::vector<std::string> plugged;
    /// Ids of what was plugged out: their -device is left out.
    std::set<std::string, std::less<>> unplugged;
    /// Inherited descriptors are numbered upwards from here.
    int first_fd = 10;
};

/// A tap device that the guide expects at descriptors first_fd ... first_fd + queues - 1.
struct TapRequest {
    std::string netdev;
    unsigned queues = 1;
    bool vnet_hdr = true;
    int first_fd = -1;
};

struct GuideCommandLine {
    std::vector<std::string> argv;  ///< argv[0] as in the source's
    int qmp_fd = -1;                ///< number of the inherited stream socket for QMP
    std::vector<TapRequest> taps;
    bool needs_scratch = false;  ///< QEMU will create disk overlays in $TMPDIR
    /// Devices of the source that the guide does not have, as the names of their sections and RAM
    /// blocks end: they must be left out of the state that it loads.
    std::vector<std::string> absent;
    std::vector<std::string> notes;  ///< deliberate differences from the source, one sentence each
};

/// What a command line gives names to.
struct OptionNames {
    std::set<std::string, std::less<>> devices;   ///< ids of -device
    std::set<std::string, std::less<>> backends;  ///< of all others: drives, networks, objects
};
/// @param config_files as in GuideSubstitutes
/// Errors: as derive_guide_command_line()
Result<OptionNames> names_in(std::span<const std::string> argv,
                             const std::map<std::string, std::string, std::less<>>& config_files);

/// @param source_argv the source's /proc/PID/cmdline
/// The guide starts with `-incoming defer`.
/// Errors: unsupported, with the device or option that cannot be made harmless, and why; usage if a
/// substitute is missing.
Result<GuideCommandLine> derive_guide_command_line(std::span<const std::string> source_argv,
                                                   const GuideSubstitutes& substitutes);

}  // namespace gc::guide

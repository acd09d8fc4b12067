// SPDX-License-Identifier: GPL-2.0-or-later
// What the user asked `gcctl migrate` for.
#pragma once

#include "util/socket.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace gc::migrate {

/// How progress is told on the terminal.
enum class Output {
    automatic,  ///< one live line on a terminal, plain lines elsewhere
    json,       ///< one JSON object a line, on standard output
    quiet,      ///< nothing but errors
};

struct Options {
    std::string qmp;  ///< the source QEMU's QMP unix socket
    Endpoint to;      ///< where `gcctl receive` listens
    unsigned precopy_rounds = 0;
    std::chrono::milliseconds precopy_time{0};  ///< 0: not limited by time
    bool guide = true;
    std::uint32_t lead = 4096;       ///< pages touched by the guide and not yet sent, at most
    std::uint64_t guide_memory = 0;  ///< bytes that the guide may cost; 0: no limit
    std::chrono::milliseconds guide_wait{50};  ///< of the VM's state for its guide to run
    std::uint32_t next_pages = 16;             ///< sent ahead after each demand fault; 0: none
    std::string hot;                           ///< a trace's file, "auto", or empty: no hot set
    std::uint64_t bandwidth = 0;               ///< bytes per second for all but urgent; 0: no limit
    std::chrono::milliseconds hold_background{0};  ///< once the VM runs; SIGUSR1 ends it
    std::string policy = "silent";                 ///< a traffic policy's name or file, or "none"
    std::optional<std::string> policy_device;      ///< none: the NIC towards the destination
    std::optional<std::uint64_t> policy_link;  ///< its rate, bytes per second; none: what it says
    bool policy_required = false;              ///< no migration without
    bool kill_source = false;                  ///< when the VM needs it no more
    std::chrono::milliseconds connect_timeout{10'000};
    std::optional<std::string> report;  ///< file
    Output output = Output::automatic;
    bool verbose = false;
};

}  // namespace gc::migrate

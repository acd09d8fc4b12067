// SPDX-License-Identifier: GPL-2.0-or-later
// The options of `gcctl receive`.
#pragma once

#include "peer/security.h"
#include "util/socket.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace gc::receive {

struct Options {
    std::string qmp;      ///< the destination QEMU's QMP unix socket; empty with libvirt
    std::string connect;  ///< libvirt's URI; empty without
    std::string socket;   ///< the name of libvirt's migration socket; empty: each migration's own
    Endpoint listen;
    peer::SecurityOptions security;
    bool keep = false;       ///< take one VM after the other
    bool psk_stdin = false;  ///< a one-time key comes on standard input, whose end ends the wait
    std::chrono::milliseconds wait{0};  ///< for a source to connect; 0 means forever
    /// How long the source may be away before the commit.
    std::chrono::milliseconds reconnect_limit{30'000};
    /// Track the VM until all of it has arrived, and for at least this long from its start.
    std::optional<std::chrono::milliseconds> measure;
    bool allow_overcommit = false;            ///< take a VM for which there seems to be no memory
    std::optional<std::string> metrics_file;  ///< for Prometheus
    bool json = false;
    bool quiet = false;
    std::vector<std::string> arguments;  ///< the command line, for the record on disk
};

}  // namespace gc::receive

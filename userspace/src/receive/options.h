// SPDX-License-Identifier: GPL-2.0-or-later
// What the user asked `gcctl receive` for.
#pragma once

#include "util/socket.h"

#include <chrono>
#include <optional>
#include <string>

namespace gc::receive {

struct Options {
    std::string qmp;  ///< the destination QEMU's QMP unix socket
    Endpoint listen;
    std::chrono::milliseconds wait{0};  ///< for a source to connect; 0: for ever
    /// Track the VM until it is all here, and for this long from its start at least.
    std::optional<std::chrono::milliseconds> measure;
    bool json = false;
    bool quiet = false;
};

}  // namespace gc::receive

// SPDX-License-Identifier: GPL-2.0-or-later
// What the data plane's threads tell the control loop.
#pragma once

#include "util/mailbox.h"

#include <cstdint>
#include <variant>
#include <vector>

namespace gc::transfer {

/// The source is stopped and the package about to leave: the destination will load its device state
/// and may then ask for pages.
struct SwitchedOver {
    std::vector<std::byte> guide_stream;  ///< what a guide loads, see stream::guide_stream()
    std::uint32_t last_ping;              ///< its pong says that the device state was accepted
};

/// The source QEMU ran out of dirty pages and ended by pre-copy; its whole stream was relayed.
struct Converged {};

/// The destination answered a ping.
struct Pong {
    std::uint32_t value;
};

/// The destination said how it ended; 0 is good.
struct Shut {
    std::uint32_t status;
};

/// Every page was delivered and the end of the stream was sent.
struct AllSent {};

/// A channel or a peer failed; nothing more will come from the thread that says so.
struct Broken {
    Error error;
};

using Notice = std::variant<SwitchedOver, Converged, Pong, Shut, AllSent, Broken>;
using Notices = Mailbox<Notice>;

}  // namespace gc::transfer

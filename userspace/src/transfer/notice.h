// SPDX-License-Identifier: GPL-2.0-or-later
// Messages of the data plane's threads to the control loop.
#pragma once

#include "stream/package.h"
#include "util/mailbox.h"

#include <cstdint>
#include <variant>
#include <vector>

namespace gc::transfer {

/// The source is stopped and the package is about to be sent: the destination will load its device
/// state and may then request pages.
struct SwitchedOver {
    stream::GuideState guide;  ///< what a guide loads
    std::uint32_t last_ping;   ///< its pong means that the device state was accepted
};

/// Pre-copy converged: the source QEMU ran out of dirty pages, and its whole stream was relayed.
struct Converged {};

/// The destination answered a ping.
struct Pong {
    std::uint32_t value;
};

/// The destination reported how its migration ended; 0 is success.
struct Shut {
    std::uint32_t status;
};

/// Every page was delivered and the end of the stream was sent.
struct AllSent {};

/// A channel or a peer failed, and the thread that reports it has ended.
struct Broken {
    Error error;
    bool by_destination = false;  ///< found in what the destination sends, or does not
};

using Notice = std::variant<SwitchedOver, Converged, Pong, Shut, AllSent, Broken>;
using Notices = Mailbox<Notice>;

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
// The taps of a QEMU's NICs.
#pragma once

#include "mirror/packet_socket.h"
#include "qmp/client.h"
#include "util/fd.h"

#include <string>
#include <sys/types.h>
#include <vector>

namespace gc::mirror {

struct Tap {
    std::string mac;  ///< the NIC's
    PacketSocket socket;
    std::string device = {};          ///< its name
    UniqueFd network_namespace = {};  ///< that it is in
};

struct Taps {
    std::vector<Tap> found;
    std::string reason;  ///< which NICs are not among them, and why; empty if all are
};

/// Opens a socket for each NIC that is on a tap. It receives nothing yet. Never fails.
/// @param qemu the process, whose descriptors are looked at: that needs ptrace permission
[[nodiscard]] Taps find_taps(qmp::Client& qmp, pid_t qemu);

}  // namespace gc::mirror

// SPDX-License-Identifier: GPL-2.0-or-later
// Whether there is memory for a VM. A destination QEMU that the kernel kills after the commit is
// lost with its VM.
#pragma once

#include "qmp/client.h"
#include "util/cgroup.h"

#include <optional>

namespace gc::receive {

/// In bytes.
struct MemoryNeed {
    std::uint64_t ram = 0;        ///< of all RAM blocks
    std::uint64_t resident = 0;   ///< what QEMU's process has already
    std::uint64_t available = 0;  ///< of the host
    std::optional<CgroupRoom> cgroup;
};

/// Checks that the host and QEMU's cgroups have what QEMU does not have yet. Swap does not count,
/// nor do huge pages, which the kernel reserves when QEMU starts.
/// Errors: unsupported; others, if QEMU or /proc could not be read.
Result<void> check_memory(qmp::Client& qmp);
Result<void> check_memory(const MemoryNeed& need);

}  // namespace gc::receive

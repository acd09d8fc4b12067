// SPDX-License-Identifier: GPL-2.0-or-later
// The images that the VM's disks are in, and where these are.
#pragma once

#include "peer/vm_facts.h"
#include "qmp/client.h"

#include <optional>
#include <vector>

namespace gc::preflight {

/// All disks with a medium. Reads no image and takes no lock.
/// @param process of QEMU, to see its files; nullopt if unknown. Errors: those of qmp::Client.
Result<std::vector<peer::VmFacts::Disk>> ask_disks(qmp::Client& qmp, std::optional<pid_t> process);

}  // namespace gc::preflight

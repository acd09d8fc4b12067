// SPDX-License-Identifier: GPL-2.0-or-later
// Asks a QEMU for what peer::VmFacts has.
#pragma once

#include "peer/vm_facts.h"
#include "qmp/client.h"

namespace gc::preflight {

/// Changes nothing. Works with a QEMU that runs and with one that waits for a migration. Errors:
/// those of qmp::Client.
Result<peer::VmFacts> facts_of(qmp::Client& qmp);

}  // namespace gc::preflight

// SPDX-License-Identifier: GPL-2.0-or-later
// Whether a VM can move from one QEMU to another, as far as can be known before anything is
// touched.
#pragma once

#include "peer/vm_facts.h"

#include <string>
#include <string_view>
#include <vector>

namespace gc::preflight {

struct Difference {
    bool fatal = false;       ///< the destination QEMU would refuse the VM, or the VM be harmed
    std::string what;         ///< "machine type: pc-q35-7.2 at the source, pc-i440fx-7.2 at ..."
    std::string consequence;  ///< what would happen
};

/// All differences, the fatal ones first. What QEMU's own migration takes is not fatal.
[[nodiscard]] std::vector<Difference> compare(const peer::VmFacts& source,
                                              const peer::VmFacts& destination);

}  // namespace gc::preflight

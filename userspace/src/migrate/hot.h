// SPDX-License-Identifier: GPL-2.0-or-later
// The hot set of `--hot`: pages that are worth sending ahead of the background.
#pragma once

#include "qmp/ram_blocks.h"
#include "transfer/bulk_pusher.h"

#include <span>
#include <string>

namespace gc::migrate {

/// From a trace of this VM, or of one with the same RAM blocks. Errors: io, protocol; usage if the
/// trace is of a VM with other RAM blocks.
Result<transfer::WarmPages> hot_of_file(const std::string& path,
                                        std::span<const qmp::RamBlock> guest_ram);

/// Tracks the running VM by age for two seconds. Errors: those of record::TrackedVm and Recorder.
Result<transfer::WarmPages> hot_of_vm(qmp::Client& client);

}  // namespace gc::migrate

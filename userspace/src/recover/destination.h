// SPDX-License-Identifier: GPL-2.0-or-later
// `gcctl recover receive`: gets a stranded VM the rest of its memory.
#pragma once

#include "recover/options.h"
#include "util/error.h"

namespace gc::recover {

/// Runs until the destination QEMU has everything. A source that leaves may come again, at any
/// time. Errors: as recover_source().
Result<void> recover_destination(const Options& options);

}  // namespace gc::recover

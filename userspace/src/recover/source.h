// SPDX-License-Identifier: GPL-2.0-or-later
// `gcctl recover migrate`: sends a stranded VM the rest of its memory.
#pragma once

#include "recover/options.h"
#include "util/error.h"

namespace gc::recover {

/// Runs until the destination has everything and the source QEMU's migration is complete. A lost
/// connection is made again, for ever. Errors: any kind; needs_operator, if it was interrupted or
/// failed on the way: it can be run again.
Result<void> recover_source(const Options& options);

}  // namespace gc::recover

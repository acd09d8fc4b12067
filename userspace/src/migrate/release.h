// SPDX-License-Identifier: GPL-2.0-or-later
// How a source QEMU that has switched over is brought out of post-copy again.
#pragma once

#include "qmp/client.h"

#include <chrono>

namespace gc::migrate {

/// Waits until the source QEMU's migration is "completed". Errors: io, naming the state it stays
/// in.
Result<void> await_completed(qmp::Client& source, std::chrono::milliseconds timeout);

/// Ends the source QEMU's side of a migration whose stream was broken off after switch-over: its
/// status becomes "completed", its run state "postmigrate".
///
/// QEMU has no command for that; migrate_cancel leaves 7.2 in "cancelling" for ever and later
/// versions refuse it in post-copy. The stream's end has put QEMU into postcopy-paused, and in the
/// recovery that follows we answer every question with "all of it was received" (migration/ram.c
/// ram_dirty_bitmap_reload): QEMU finds nothing left to send and ends. Takes milliseconds whatever
/// the guest's size. The last resort, for when nobody holds the stream any more: QEMU 7.2 was seen
/// to crash in its recovery, about once in a hundred times. Where the stream is at hand,
/// StreamRelay::drain() is the way.
Result<void> end_as_received(qmp::Client& source, std::chrono::milliseconds timeout);

/// Makes the VM at the source run on as if nothing had happened, from any state before commit:
/// cancels a migration that is under way, or ends one that had switched over, and continues the VM
/// if it ran before. The stream's socket must be closed already. Tries until the timeout, as the
/// destination may hold the lock of a disk image for a moment.
Result<void> run_on(qmp::Client& source, bool was_running, std::chrono::milliseconds timeout);

}  // namespace gc::migrate

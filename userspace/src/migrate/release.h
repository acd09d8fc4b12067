// SPDX-License-Identifier: GPL-2.0-or-later
// Takes a source QEMU that has switched over out of post-copy again.
#pragma once

#include "qmp/client.h"

#include "util/fd.h"

#include <chrono>
#include <functional>

namespace gc::migrate {

/// Makes a source QEMU resume its migration. @return where its stream comes from
using Resume = std::function<Result<UniqueFd>(qmp::Client& source)>;
/// To a descriptor, which a QEMU with postcopy-preempt refuses: that connects twice.
Result<UniqueFd> resume_to_descriptor(qmp::Client& source);

/// Waits until the source QEMU's migration is "completed". Errors: io, with the last state.
Result<void> await_completed(qmp::Client& source, std::chrono::milliseconds timeout);

/// Ends the source QEMU's side of a migration whose stream broke after switch-over: its status
/// becomes "completed", its run state "postmigrate".
///
/// QEMU has no command for that: migrate_cancel leaves 7.2 in "cancelling" forever, and later
/// versions refuse it in post-copy. The end of the stream has put QEMU into postcopy-paused. This
/// function starts a recovery and answers every bitmap request with "everything was received"
/// (ram_dirty_bitmap_reload in migration/ram.c): QEMU finds nothing left to send and completes.
/// That takes milliseconds whatever the guest's size.
///
/// The last resort, for when the stream is gone: QEMU 7.2 was seen to crash in its recovery, about
/// once in a hundred times. While the stream is open, use StreamRelay::drain().
Result<void> end_as_received(qmp::Client& source, std::chrono::milliseconds timeout,
                             const Resume& resume = resume_to_descriptor);

/// Makes query-migrate say "failed" instead of "completed": begins a migration to nobody, of which
/// the VM takes no notice. Errors: io.
Result<void> forget_completed(qmp::Client& source, std::chrono::milliseconds timeout);

/// Resumes the VM at the source as if nothing had happened, from any state before commit: cancels a
/// running migration, or ends one that has switched over, and continues the VM if it ran before.
/// The stream's socket must be closed already. Retries until the timeout, because the destination
/// may still hold the lock of a disk image.
Result<void> run_on(qmp::Client& source, bool was_running, std::chrono::milliseconds timeout,
                    const Resume& resume = resume_to_descriptor);

}  // namespace gc::migrate

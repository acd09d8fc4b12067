// SPDX-License-Identifier: GPL-2.0-or-later
// poll(2) with a deadline, through EINTR.
#pragma once

#include "util/deadline.h"
#include "util/error.h"

#include <poll.h>
#include <span>

namespace gc {
inline namespace util {

/// Waits until at least one descriptor is ready. Ignores negative descriptors.
/// @return false if the deadline passed first; all revents are 0 then. Errors: io.
Result<bool> poll_until(std::span<pollfd> waits, Deadline deadline);

/// Waits for events (POLLIN, ...), an error or a hang-up of one descriptor.
/// @return false if the deadline passed first. Errors: io.
Result<bool> wait_for_events(int fd, short events, Deadline deadline);
Result<bool> wait_readable(int fd, Deadline deadline);

}  // namespace util
}  // namespace gc

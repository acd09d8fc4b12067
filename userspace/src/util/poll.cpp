// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/poll.h"

#include <cerrno>

namespace gc {
inline namespace util {

Result<bool> poll_until(std::span<pollfd> waits, Deadline deadline) {
    for (;;) {
        const int ready = ::poll(waits.data(), waits.size(), deadline.left_ms());
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return fail_errno(errno, "poll");
        if (ready == 0 && deadline.expired())
            return false;
    }
}

Result<bool> wait_for_events(int fd, short events, Deadline deadline) {
    pollfd wait{fd, events, 0};
    return poll_until(std::span(&wait, 1), deadline);
}

Result<bool> wait_readable(int fd, Deadline deadline) {
    return wait_for_events(fd, POLLIN, deadline);
}

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
// Names a process for good: its PID alone may be reused.
#pragma once

#include "util/error.h"

#include <cstdint>
#include <sys/types.h>

namespace gc::state {

struct Process {
    pid_t pid = 0;
    std::uint64_t start = 0;  ///< in clock ticks after boot (proc(5), starttime of /proc/PID/stat)

    /// Errors: io, if there is no such process.
    static Result<Process> of(pid_t pid);
    /// This process.
    static Process self();
    /// Whether it still exists. A zombie does not.
    [[nodiscard]] bool alive() const;

    bool operator==(const Process&) const = default;
};

}  // namespace gc::state

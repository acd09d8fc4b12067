// SPDX-License-Identifier: GPL-2.0-or-later
// The program that a guide runs.
#pragma once

#include "util/error.h"
#include "util/fd.h"

#include <string>
#include <sys/types.h>

namespace gc::guide {

/// The file that the source process runs, as the operator's system installed it.
///
/// A process can choose its /proc/PID/exe: it executes any file that it can write, or stays in a
/// mount namespace of its own. So the path is walked again in gcctl's mount namespace, and must
/// lead to the same file through names that nobody but root can change.
struct Program {
    std::string path;
    UniqueFd file;  ///< O_PATH

    /// Errors: unsupported, with the path, what is wrong with it, and what to do; io.
    static Result<Program> of(pid_t source);
};

}  // namespace gc::guide

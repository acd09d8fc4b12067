// SPDX-License-Identifier: GPL-2.0-or-later
// Keeps the VM alive if gcctl itself is killed.
#pragma once

#include "util/fd.h"

#include <string>
#include <sys/types.h>

namespace gc::migrate {

/// A small process that waits for gcctl to end. If that happens before commit, it resumes the VM at
/// the source. A source that has switched over but not committed is stopped, and nobody else would
/// resume it: not even SIGKILL may leave it in that state.
class Guardian {
  public:
    /// Forks. Call it before any thread exists.
    static Result<Guardian> start(const std::string& source_qmp, bool was_running);

    Guardian(Guardian&& other) noexcept;
    Guardian& operator=(Guardian&&) = delete;
    Guardian(const Guardian&) = delete;
    Guardian& operator=(const Guardian&) = delete;
    /// Dismisses it, too: on an orderly end, gcctl has taken care of the VM itself.
    ~Guardian();

    /// Makes it leave the VM alone from now on: on commit and on an orderly end. Does not wait.
    void dismiss();

  private:
    Guardian(pid_t pid, UniqueFd lifeline) : pid_(pid), lifeline_(std::move(lifeline)) {}

    pid_t pid_ = -1;
    UniqueFd lifeline_;
};

}  // namespace gc::migrate

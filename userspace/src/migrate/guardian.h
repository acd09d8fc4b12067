// SPDX-License-Identifier: GPL-2.0-or-later
// What keeps the VM alive when gcctl itself is killed.
#pragma once

#include "util/fd.h"

#include <string>
#include <sys/types.h>

namespace gc::migrate {

/// A small process that waits for the end of this one. If that comes before commit, it makes the VM
/// run on at the source. A source that has switched over but not committed is stopped and has
/// nobody else: not even SIGKILL may leave it so.
class Guardian {
  public:
    /// Forks: to be called before any thread exists.
    static Result<Guardian> start(const std::string& source_qmp, bool was_running);

    Guardian(Guardian&& other) noexcept;
    Guardian& operator=(Guardian&&) = delete;
    Guardian(const Guardian&) = delete;
    Guardian& operator=(const Guardian&) = delete;
    /// Dismisses it, too: whoever ends in good order has put the VM right itself.
    ~Guardian();

    /// From here on it leaves the VM alone: for commit, and for an end in good order. Does not
    /// wait.
    void dismiss();

  private:
    Guardian(pid_t pid, UniqueFd lifeline) : pid_(pid), lifeline_(std::move(lifeline)) {}

    pid_t pid_ = -1;
    UniqueFd lifeline_;
};

}  // namespace gc::migrate

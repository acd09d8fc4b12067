// SPDX-License-Identifier: GPL-2.0-or-later
// A small process that acts if gcctl is killed.
#pragma once

#include "util/fd.h"

#include <cstdint>
#include <functional>
#include <span>
#include <sys/types.h>

namespace gc {
inline namespace util {

/// Waits for gcctl to end. If that happens while it is armed, it acts: not even SIGKILL, of gcctl
/// or of its control group, may leave a VM in between. The OOM killer takes it last.
class Guardian {
  public:
    /// Forks an unarmed one. Call it before any thread exists: the child runs `act`.
    /// @param act gets what arm() was given last, and returns the child's exit status. Of
    /// descriptors it has 0, 1, 2 and those of `keep`
    static Result<Guardian> start(const std::function<int(std::uint8_t what)>& act,
                                  std::span<const int> keep = {});

    Guardian(Guardian&& other) noexcept;
    Guardian& operator=(Guardian&&) = delete;
    Guardian(const Guardian&) = delete;
    Guardian& operator=(const Guardian&) = delete;
    /// Dismisses it, too: on an orderly end, gcctl has taken care of the VM itself.
    ~Guardian();

    /// @param what below 255. May change while it is armed
    void arm(std::uint8_t what = 0);
    /// Makes it leave the VM alone from now on. Does not wait.
    void dismiss();

  private:
    Guardian(pid_t pid, UniqueFd lifeline) : pid_(pid), lifeline_(std::move(lifeline)) {}

    pid_t pid_ = -1;
    UniqueFd lifeline_;
};

}  // namespace util
}  // namespace gc

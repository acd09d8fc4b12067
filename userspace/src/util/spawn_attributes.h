// SPDX-License-Identifier: GPL-2.0-or-later
// For posix_spawn(): gcctl blocks and ignores signals that its children must get.
#pragma once

#include <csignal>
#include <spawn.h>

namespace gc {
inline namespace util {

class SpawnAttributes {
  public:
    /// @param more POSIX_SPAWN_*, such as POSIX_SPAWN_SETPGROUP for a group of the child's own
    explicit SpawnAttributes(int more = 0) {
        ::posix_spawnattr_init(&attributes_);
        sigset_t signals;
        ::sigemptyset(&signals);
        ::posix_spawnattr_setsigmask(&attributes_, &signals);
        ::sigaddset(&signals, SIGPIPE);
        ::posix_spawnattr_setsigdefault(&attributes_, &signals);
        ::posix_spawnattr_setpgroup(&attributes_, 0);
        ::posix_spawnattr_setflags(&attributes_, static_cast<short>(POSIX_SPAWN_SETSIGMASK |
                                                                    POSIX_SPAWN_SETSIGDEF | more));
    }
    SpawnAttributes(const SpawnAttributes&) = delete;
    SpawnAttributes& operator=(const SpawnAttributes&) = delete;
    ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes_); }

    [[nodiscard]] const posix_spawnattr_t* get() const { return &attributes_; }

  private:
    posix_spawnattr_t attributes_{};
};

}  // namespace util
}  // namespace gc

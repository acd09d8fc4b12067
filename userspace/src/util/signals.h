// SPDX-License-Identifier: GPL-2.0-or-later
// The signals that gcctl handles, as a file descriptor.
#pragma once

#include "util/fd.h"

#include <optional>

namespace gc {
inline namespace util {

/// Blocks SIGINT, SIGTERM, SIGHUP and SIGUSR1 in this thread and in all threads that it starts
/// afterwards.
class Signals {
  public:
    static Result<Signals> block();

    [[nodiscard]] int fd() const { return fd_.get(); }
    /// The number of a pending signal, or nullopt.
    std::optional<int> take() const;

  private:
    explicit Signals(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
};

}  // namespace util
}  // namespace gc

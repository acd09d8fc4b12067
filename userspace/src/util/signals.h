// SPDX-License-Identifier: GPL-2.0-or-later
// The signals that gcctl acts on, as a descriptor.
#pragma once

#include "util/fd.h"

#include <optional>

namespace gc::inline util {

/// SIGINT, SIGTERM, SIGHUP and SIGUSR1 are blocked while this exists, in threads started later too.
class Signals {
  public:
    static Result<Signals> block();

    [[nodiscard]] int fd() const { return fd_.get(); }
    /// The number of a signal that has come, if one has.
    std::optional<int> take() const;

  private:
    explicit Signals(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
};

}  // namespace gc::inline util

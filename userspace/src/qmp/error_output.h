// SPDX-License-Identifier: GPL-2.0-or-later
// What a QEMU writes to its standard error: the reasons that QMP does not tell.
#pragma once

#include "qmp/client.h"
#include "util/fd.h"

#include <string>
#include <sys/types.h>

namespace gc::qmp {

/// Only a regular file can be read while QEMU writes to it. If it is a terminal, a pipe or a
/// socket, hint() says so, and the operator can look there.
class ErrorOutput {
  public:
    ErrorOutput() = default;
    /// From now on. Never fails: what cannot be found out is unknown.
    static ErrorOutput of(const Client& qmp);
    static ErrorOutput of(pid_t pid);

    /// The end of what was written since, in one printable line; empty if it is nothing, or
    /// unknown.
    [[nodiscard]] std::string text() const;
    /// Half a sentence for an error message: what it wrote, or where to look.
    [[nodiscard]] std::string hint() const;

  private:
    UniqueFd file_;
    off_t begin_ = 0;
    std::string place_;  ///< what the descriptor is; empty if unknown
};

}  // namespace gc::qmp

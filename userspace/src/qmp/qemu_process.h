// SPDX-License-Identifier: GPL-2.0-or-later
// The process behind a QMP socket, to be waited for and to be killed.
#pragma once

#include "qmp/client.h"
#include "util/fd.h"

#include <chrono>
#include <optional>

namespace gc::qmp {

class QemuProcess {
  public:
    /// Nothing if QMP's peer is not a QEMU: a manager may have made the socket for it (libvirt),
    /// and is nobody to be killed. Errors: io.
    static Result<std::optional<QemuProcess>> open(const Client& qmp);

    /// @return whether it has ended, or does so before the timeout. Errors: io.
    [[nodiscard]] Result<bool> ends(std::chrono::milliseconds timeout) const;
    /// SIGKILL: its VM does nothing more. @return as ends()
    [[nodiscard]] Result<bool> kill(std::chrono::milliseconds timeout) const;

  private:
    explicit QemuProcess(UniqueFd pidfd) : pidfd_(std::move(pidfd)) {}

    UniqueFd pidfd_;
};

}  // namespace gc::qmp

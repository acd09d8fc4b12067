// SPDX-License-Identifier: GPL-2.0-or-later
// The process behind a QMP socket.
#pragma once

#include "qmp/client.h"
#include "util/fd.h"

#include <chrono>
#include <optional>

namespace gc::qmp {

/// Whether a process runs a program of QEMU's, by its name.
[[nodiscard]] bool is_qemu(pid_t pid);

class QemuProcess {
  public:
    /// Returns nullopt if QMP's peer is not a QEMU: a manager such as libvirt may have created the
    /// socket, and must not be killed. Errors: io.
    static Result<std::optional<QemuProcess>> open(const Client& qmp);

    /// A pidfd.
    [[nodiscard]] const int& fd() const { return fd_number_; }
    /// @return whether the process has ended, or ends within the timeout. Errors: io.
    [[nodiscard]] Result<bool> ends(std::chrono::milliseconds timeout) const;
    /// Sends SIGKILL, so that the VM stops. @return like ends()
    [[nodiscard]] Result<bool> kill(std::chrono::milliseconds timeout) const;

  private:
    explicit QemuProcess(UniqueFd pidfd) : pidfd_(std::move(pidfd)), fd_number_(pidfd_.get()) {}

    UniqueFd pidfd_;
    int fd_number_;
};

}  // namespace gc::qmp

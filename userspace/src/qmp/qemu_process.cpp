// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/qemu_process.h"

#include "util/pidfd.h"
#include "util/poll.h"

#include <csignal>
#include <filesystem>

namespace gc::qmp {

bool is_qemu(pid_t pid) {
    std::error_code error;
    const auto program = std::filesystem::read_symlink(fmt::format("/proc/{}/exe", pid), error);
    return !error && program.filename().string().starts_with("qemu");
}

Result<std::optional<QemuProcess>> QemuProcess::open(const Client& qmp) {
    GC_TRY(const pid_t pid, qmp.peer_pid());
    // Open the pidfd first: the PID may be reused later, but the pidfd stays valid.
    UniqueFd pidfd(::pidfd_open(pid, 0));
    if (!pidfd || !is_qemu(pid))
        return std::nullopt;
    return QemuProcess(std::move(pidfd));
}

Result<bool> QemuProcess::ends(std::chrono::milliseconds timeout) const {
    return wait_readable(pidfd_.get(), timeout);
}

Result<bool> QemuProcess::kill(std::chrono::milliseconds timeout) const {
    // A process that cannot be killed has either ended or does not end.
    (void)::pidfd_send_signal(pidfd_.get(), SIGKILL, nullptr, 0);
    return ends(timeout);
}

}  // namespace gc::qmp

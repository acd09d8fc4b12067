// SPDX-License-Identifier: GPL-2.0-or-later
// The destination QEMU, seen through QMP.
#pragma once

#include "qmp/client.h"
#include "qmp/qemu_process.h"
#include "util/private_socket.h"

#include <optional>
#include <string>

namespace gc::receive {

/// A QEMU started with `-incoming defer`, made ready for post-copy and told not to run by itself:
/// when QEMU has loaded the device state it stays paused until resume(). That makes the switch-over
/// a two-phase commit: whatever fails before resume(), the source can safely run on.
class DestinationQemu {
  public:
    /// Errors: io, unsupported (not waiting for a migration, or no post-copy on this host).
    static Result<DestinationQemu> prepare(const std::string& qmp_path);

    /// Has QEMU listen on a unix socket that only it and we can reach, and connects to it.
    /// 7.2 starts to read only when both channels are there, later ones wait for the second in the
    /// background; 10.2 wants the first bytes of main before it accepts another
    /// (migration/channel.c, migration_channel_read_peek): so connect main, pass on the stream's
    /// header, then connect urgent.
    Result<void> listen();
    Result<UniqueFd> connect() const;

    /// Lets the VM run: as soon as its device state is loaded if that is still under way
    /// (softmmu/cpus.c qmp_cont, 7.2: in RUN_STATE_INMIGRATE it sets autostart).
    Result<void> resume();

    /// Ends a QEMU that must not run: by QMP, or by SIGKILL when its main loop waits for a page
    /// that will never come. A QEMU that is gone already is what was wanted. Errors: io, it may
    /// still be there.
    Result<void> end();

    [[nodiscard]] bool has_preempt() const { return preempt_; }
    [[nodiscard]] std::string version() const { return qmp_.version().text(); }
    [[nodiscard]] qmp::Client& qmp() { return qmp_; }

  private:
    DestinationQemu(qmp::Client qmp, std::optional<qmp::QemuProcess> process, bool preempt)
        : qmp_(std::move(qmp)), process_(std::move(process)), preempt_(preempt) {}

    qmp::Client qmp_;
    std::optional<qmp::QemuProcess> process_;
    bool preempt_;
    std::optional<PrivateDirectory> directory_;  ///< holds the incoming socket
};

}  // namespace gc::receive

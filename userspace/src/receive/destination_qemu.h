// SPDX-License-Identifier: GPL-2.0-or-later
// The destination QEMU, seen through QMP.
#pragma once

#include "qmp/client.h"
#include "qmp/qemu_process.h"
#include "util/private_socket.h"

#include <optional>
#include <span>
#include <string>

namespace gc::receive {

/// A QEMU started with `-incoming defer`, prepared for post-copy and told not to run by itself:
/// when it has loaded the device state, it stays paused until resume(). That makes switch-over a
/// two-phase commit: after any failure before resume(), the VM can safely continue at the source.
class DestinationQemu {
  public:
    /// Errors: io, unsupported (QEMU is not waiting for a migration, or this host has no
    /// post-copy).
    static Result<DestinationQemu> prepare(const std::string& qmp_path);

    /// Makes QEMU listen on a unix socket that only it and gcctl can reach.
    ///
    /// The order of connections matters. 7.2 starts reading only when both channels are connected;
    /// later versions wait for the second one in the background; 10.2 needs the first bytes of main
    /// before it accepts another channel (migration_channel_read_peek in migration/channel.c). So
    /// connect main, forward the stream's header, then connect urgent.
    Result<void> listen();
    Result<UniqueFd> connect() const;
    /// Nothing connects any more: removes the socket.
    void connected() { directory_.reset(); }

    /// Why QEMU's migration failed, as far as it says so. Waits little: its main loop may be
    /// waiting for a page.
    std::string error();
    /// Once QEMU has been given all of the device state: whether it has neither accepted it nor is
    /// loading it, for which its main loop would not answer. Seen once, QEMU may be about to begin.
    ///
    /// From 10.2 on a QEMU that refuses the state stays in postcopy-device without a word until the
    /// stream ends: its main thread leaves that to the thread that receives post-copy, which reads
    /// on (process_incoming_migration_co() in migration/migration.c, postcopy_listen_thread() in
    /// migration/postcopy-ram.c). Earlier ones exit.
    bool hangs();

    /// Lets the VM run. If QEMU is still loading the device state, the VM starts as soon as it is
    /// loaded (qmp_cont in softmmu/cpus.c, 7.2: in RUN_STATE_INMIGRATE it sets autostart).
    Result<void> resume();

    /// Ends a QEMU that must not run: by QMP, or by SIGKILL if its main loop is waiting for a page
    /// that will never come. Succeeds if QEMU is already gone. Errors: io (it may still be
    /// running).
    Result<void> end();
    /// What the guardian of a killed gcctl does, in a process that has none of its connections.
    /// @return its exit status
    int end_orphan(const std::string& qmp_path) const;
    /// The process's pidfd, which end_orphan() needs; empty if the process is unknown.
    [[nodiscard]] std::span<const int> process_fd() const;

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

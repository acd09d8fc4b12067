// SPDX-License-Identifier: GPL-2.0-or-later
// The destination QEMU, whoever drives it.
#pragma once

#include "qmp/client.h"
#include "qmp/error_output.h"
#include "receive/byte_relay.h"
#include "report/report.h"
#include "util/fd.h"
#include "util/guardian.h"

#include <optional>
#include <span>
#include <string>

namespace gc::receive {

/// What happened at the destination.
struct DestinationNews {
    enum class What : std::uint8_t {
        resumed,  ///< the VM runs
        status,   ///< of QEMU's migration
    };
    What what;
    std::string status;  ///< as QMP's: "completed", "failed", ...
};

/// The destination QEMU. QmpDestination drives one of its own.
class DestinationQemu {
  public:
    virtual ~DestinationQemu() = default;
    DestinationQemu(const DestinationQemu&) = delete;
    DestinationQemu& operator=(const DestinationQemu&) = delete;

    /// Its monitor; null if a manager owns the VM and drives both QEMUs. Then this QEMU may not
    /// exist yet, gcctl neither starts the VM nor ends QEMU, and has only its migration socket.
    virtual qmp::Client* monitor() = 0;
    [[nodiscard]] bool managed() { return monitor() == nullptr; }
    [[nodiscard]] virtual std::string version() const = 0;
    [[nodiscard]] virtual bool has_preempt() const = 0;

    /// QEMU's process, once it is known. Errors: io.
    virtual Result<pid_t> pid() = 0;
    /// The UUID of a managed VM, once it is known; else empty.
    [[nodiscard]] virtual std::string domain() const { return {}; }

    /// What ends QEMU if this process is killed; nullopt if nothing should. Call it before any
    /// thread exists.
    virtual Result<std::optional<Guardian>> guard() = 0;
    /// A source has come. @param id peer::public_id() of its migration
    virtual Result<void> expect(const std::string& id) = 0;
    /// Makes QEMU listen on a unix socket that only it and gcctl can reach.
    ///
    /// The order of connections matters. 7.2 starts reading only when both channels are connected;
    /// later versions wait for the second one in the background; 10.2 needs the first bytes of main
    /// before it accepts another channel (migration_channel_read_peek in migration/channel.c). So
    /// connect main, forward the stream's header, then connect urgent.
    virtual Result<void> listen() = 0;
    virtual Result<UniqueFd> connect() = 0;
    /// Nothing connects any more.
    virtual void connected() = 0;
    /// What QEMU has sent to its source. Runs in the thread that forwards it.
    virtual void saw_return_path(std::span<const std::byte> bytes) = 0;

    /// The oldest news, or nullopt if there are none. Does not wait. Errors: io, if QEMU, or the
    /// connection to it, has ended.
    virtual Result<std::optional<DestinationNews>> next_news() = 0;
    /// Whether there are news. Check this before polling fd().
    [[nodiscard]] virtual bool has_news() = 0;
    [[nodiscard]] virtual int fd() = 0;
    /// Why QEMU's migration failed, as far as it says so. Waits little: its main loop may be
    /// waiting for a page.
    virtual std::string error() = 0;
    /// What it has written to its standard error, since it is known.
    [[nodiscard]] virtual const qmp::ErrorOutput& output() const = 0;
    /// What it measured, once its migration has completed. QEMU 10.1 and later.
    virtual std::optional<report::QemuPostcopyReport> postcopy_figures() = 0;
    /// Once QEMU has been given all of the device state: whether it has neither accepted it nor is
    /// loading it, for which its main loop would not answer. Seen once, QEMU may be about to begin.
    ///
    /// From 10.2 on a QEMU that refuses the state stays in postcopy-device without a word until the
    /// stream ends: its main thread leaves that to the thread that receives post-copy, which reads
    /// on (process_incoming_migration_co() in migration/migration.c, postcopy_listen_thread() in
    /// migration/postcopy-ram.c). Earlier ones exit.
    virtual bool hangs() = 0;

    /// Lets the VM run. If QEMU is still loading the device state, the VM starts as soon as it is
    /// loaded (qmp_cont in softmmu/cpus.c, 7.2: in RUN_STATE_INMIGRATE it sets autostart).
    virtual Result<void> resume() = 0;
    /// Before resume(): sees to it that the VM never runs here. Succeeds if QEMU is already gone.
    /// Errors: io (it may still be running).
    virtual Result<void> end() = 0;
    /// Of a managed VM, once its stream has ended or was ended: whether QEMU has ended before it
    /// had the whole state of the VM, which so never ran here. Waits for QEMU's end, not for long.
    virtual bool ended_without_state(const ByteRelay& /*from_qemu*/) { return false; }
    /// What to do if the migration failed after the VM was handed over.
    [[nodiscard]] virtual std::string how_to_continue() const = 0;

  protected:
    DestinationQemu() = default;
};

}  // namespace gc::receive

// SPDX-License-Identifier: GPL-2.0-or-later
// The source QEMU: the checks before anything is touched, and the steps driven by QMP.
#pragma once

#include "image/source_image.h"
#include "qmp/client.h"
#include "qmp/migration.h"
#include "qmp/qemu_process.h"
#include "qmp/ram_blocks.h"
#include "state/process.h"

#include <chrono>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace gc::migrate {

class SourceQemu {
  public:
    /// Connects and checks QEMU's version, its capabilities, that the VM is running or paused, and
    /// that guest RAM can be read. Changes nothing. Errors: io, unsupported.
    /// @param to_be_killed whether kill() must work
    static Result<SourceQemu> open(const std::string& qmp_path, bool to_be_killed);

    [[nodiscard]] qmp::Client& qmp() { return qmp_; }
    [[nodiscard]] pid_t pid() const { return pid_; }
    /// Whether the VM ran before the switch-over, as far as is known.
    [[nodiscard]] bool was_running() const { return was_running_; }
    /// After STOP or RESUME, before the switch-over is known of: whether it was the switch-over
    /// that stopped the VM. Otherwise the operator, the guest or a device did, and was_running()
    /// changes.
    Result<bool> stopped_for_migration();
    [[nodiscard]] std::string version() const { return qmp_.version().text(); }

    [[nodiscard]] const std::vector<qmp::RamBlock>& guest_ram() const { return guest_ram_; }
    /// The size of guest RAM.
    [[nodiscard]] std::uint64_t memory_bytes() const;
    /// Opens guest RAM, by RAM block. Errors: io, unsupported.
    Result<std::vector<image::ImageBlock>> open_image() const;

    /// How much memory QEMU sends while the VM runs.
    enum class Pace {
        full,  ///< as much as the relay reads
        held,  ///< almost nothing, see hold()
    };
    /// Sets capabilities and parameters and makes QEMU migrate to a socket of gcctl. If gcctl fails
    /// or ends afterwards, the VM keeps running. @return the socket
    Result<UniqueFd> start(Pace pace);
    /// Stops the VM, if it runs, and starts post-copy. was_running() says whether it ran. It is
    /// stopped as by a user, because QEMU would let it run again, if it were stopped by its
    /// migration, when that migration fails: from 8.2 on also after all memory was sent
    /// (migration_completion() and migration_iteration_finish() in migration/migration.c), when it
    /// may run at the destination.
    Result<void> switch_over();
    /// Lets QEMU send the rest of its memory, which ends its migration.
    void send_rest();
    /// From now on QEMU sends almost nothing until it switches over: the device state, for which
    /// the VM is stopped, waits for everything in flight before it.
    Result<void> hold();

    /// How often QEMU has started a pass over all of RAM (dirty-sync-count of query-migrate).
    Result<unsigned> precopy_rounds();

    /// Kills QEMU. Errors: io (it is still there).
    Result<void> kill() const;

    /// Whether QEMU's process is gone, or goes within the timeout: its monitor is closed first.
    [[nodiscard]] bool ends(Deadline deadline) const;

    /// What start() changes, as open() found it.
    [[nodiscard]] const qmp::Settings& settings_before() const { return before_; }

  private:
    SourceQemu(qmp::Client qmp, pid_t pid) : qmp_(std::move(qmp)), pid_(pid) {}

    Result<void> check_capabilities();
    Result<void> check_state();
    Result<void> check_memory();

    qmp::Client qmp_;
    pid_t pid_;
    state::Process identity_;
    std::optional<qmp::QemuProcess> process_;  ///< if it may have to be killed
    bool was_running_ = false;
    qmp::Settings before_;
    std::vector<qmp::RamBlock> guest_ram_;
};

}  // namespace gc::migrate

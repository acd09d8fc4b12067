// SPDX-License-Identifier: GPL-2.0-or-later
// The source QEMU: what is checked before anything is touched, and the steps that QMP drives.
#pragma once

#include "image/source_image.h"
#include "qmp/client.h"
#include "qmp/migration.h"
#include "qmp/qemu_process.h"
#include "qmp/ram_blocks.h"

#include <chrono>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace gc::migrate {

class SourceQemu {
  public:
    /// Connects and checks: QEMU's version, nothing in the way among its capabilities, the VM
    /// running or paused, guest RAM that can be read. Changes nothing. Errors: io, unsupported.
    /// @param to_be_killed whether kill() must work
    static Result<SourceQemu> open(const std::string& qmp_path, bool to_be_killed);

    [[nodiscard]] qmp::Client& qmp() { return qmp_; }
    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] bool was_running() const { return was_running_; }
    [[nodiscard]] std::string version() const { return qmp_.version().text(); }

    [[nodiscard]] const std::vector<qmp::RamBlock>& guest_ram() const { return guest_ram_; }
    /// Guest RAM, by RAM block, opened once more. Errors: io, unsupported.
    Result<std::vector<image::ImageBlock>> open_image() const;

    /// What QEMU sends of the memory while the VM runs.
    enum class Pace {
        full,  ///< as much as is taken
        held,  ///< next to nothing, see hold()
    };
    /// Sets capabilities and parameters, has QEMU migrate to a socket of ours and gives that
    /// socket. After it, an error or the end of this process leaves the VM running.
    Result<UniqueFd> start(Pace pace);
    /// From now on QEMU sends next to nothing until it switches over: the device state, for which
    /// the VM halts, waits for all that is on its way before it.
    Result<void> hold();

    /// As often as QEMU has gone over all of RAM (dirty-sync-count of query-migrate).
    Result<unsigned> precopy_rounds();

    /// Ends QEMU, whatever it does. Errors: io, it is still there.
    Result<void> kill() const;

    /// Puts capabilities and parameters back to what they were. Best effort, for after the
    /// migration.
    void restore_settings();

  private:
    SourceQemu(qmp::Client qmp, pid_t pid) : qmp_(std::move(qmp)), pid_(pid) {}

    Result<void> check_capabilities();
    Result<void> check_state();
    Result<void> check_memory();

    qmp::Client qmp_;
    pid_t pid_;
    std::optional<qmp::QemuProcess> process_;  ///< if it may have to be killed
    bool was_running_ = false;
    qmp::Capabilities capabilities_;    ///< as found
    qmp::NumberParameters parameters_;  ///< as found, those that we change
    std::vector<qmp::RamBlock> guest_ram_;
};

}  // namespace gc::migrate

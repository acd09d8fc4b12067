// SPDX-License-Identifier: GPL-2.0-or-later
// The source QEMU, whoever drives it: what can be asked before anything is touched, and the steps
// of a migration.
#pragma once

#include "image/source_image.h"
#include "qmp/client.h"
#include "qmp/error_output.h"
#include "qmp/ram_blocks.h"
#include "state/process.h"
#include "transfer/data_plane.h"

#include <chrono>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace gc::migrate {

/// What happened at the source.
struct SourceNews {
    enum class What : std::uint8_t {
        stopped,
        resumed,
        frozen,  ///< in post-copy: when the migration breaks, it waits to be continued
        failed,
        cancelled,
    };
    What what;
    std::chrono::steady_clock::time_point when;
    std::string reason;  ///< of failed and cancelled, with a verb; may be empty
    /// The same moment: as QEMU dates it, else when it was heard of.
    std::chrono::system_clock::time_point emitted = std::chrono::system_clock::now();
};

/// What QEMU says of pre-copy.
struct PrecopyProgress {
    unsigned round = 0;  ///< passes over all of RAM that have begun; 0 before the first
    std::uint64_t remaining_bytes =
        0;  ///< to send, as of the last pass's begin and less what is sent
};

/// The source QEMU. QmpSource drives one of its own.
class SourceQemu {
  public:
    virtual ~SourceQemu() = default;
    SourceQemu(const SourceQemu&) = delete;
    SourceQemu& operator=(const SourceQemu&) = delete;

    /// Whether a manager owns the VM and drives both QEMUs. Then gcctl neither resumes the VM nor
    /// ends a QEMU, and the switch-over hands the VM over: nobody can take it back.
    [[nodiscard]] virtual bool managed() const = 0;

    /// Whether gcctl begins and ends pre-copy. If not, hold() and switch_over() are not called.
    [[nodiscard]] virtual bool chooses_switch_over() const { return true; }

    /// For questions, before the migration.
    [[nodiscard]] qmp::Client& qmp() { return qmp_; }
    [[nodiscard]] const qmp::Client& qmp() const { return qmp_; }
    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] std::string version() const { return qmp_.version().text(); }
    /// Since this object exists.
    [[nodiscard]] const qmp::ErrorOutput& output() const { return output_; }
    /// Whether the VM ran before the switch-over, as far as is known.
    [[nodiscard]] bool was_running() const { return was_running_; }

    [[nodiscard]] const std::vector<qmp::RamBlock>& guest_ram() const { return guest_ram_; }
    /// The size of guest RAM.
    [[nodiscard]] std::uint64_t memory_bytes() const;
    /// Opens guest RAM, by RAM block. Errors: io, unsupported.
    Result<std::vector<image::ImageBlock>> open_image() const;
    /// Whether QEMU's process is gone, or goes within the timeout.
    [[nodiscard]] bool ends(Deadline deadline) const;

    /// @param id peer::public_id() of the migration, before start()
    virtual void set_id(const std::string& id) = 0;
    /// How much memory QEMU sends while the VM runs.
    enum class Pace {
        full,  ///< as much as the relay reads
        held,  ///< almost nothing, see hold()
    };
    /// Makes QEMU migrate to a socket of gcctl. If gcctl fails or ends afterwards, the VM keeps
    /// running. @return the socket
    virtual Result<UniqueFd> start(Pace pace) = 0;
    /// dirty-sync-count and remaining of query-migrate.
    virtual Result<PrecopyProgress> precopy_progress() = 0;
    /// From now on QEMU sends almost nothing until it switches over: the device state, for which
    /// the VM is stopped, waits for everything in flight before it.
    virtual Result<void> hold() = 0;
    /// If its manager may give QEMU postcopy-preempt. As long as this object.
    [[nodiscard]] virtual transfer::PreemptSocket preempt() const { return {}; }
    /// Bytes that may still be in flight when post-copy starts: some of what QEMU sends while it is
    /// held.
    [[nodiscard]] virtual std::uint64_t max_in_flight() const = 0;
    /// Stops the VM, if it runs, and starts post-copy. was_running() says whether it ran.
    /// @return false if it is too early, and nothing has happened
    virtual Result<bool> switch_over(transfer::DataPlane& data) = 0;

    /// The oldest news, or nullopt if there are none within the timeout. Errors: io, if QEMU, or
    /// the connection to it, has ended.
    virtual Result<std::optional<SourceNews>> next_news(std::chrono::milliseconds timeout) = 0;
    /// Whether there are news. Check this before polling fd().
    [[nodiscard]] virtual bool has_news() const = 0;
    [[nodiscard]] virtual int fd() const = 0;
    /// After `stopped` or `resumed`, before the switch-over is known of: whether it was the
    /// switch-over that stopped the VM. Otherwise the operator, the guest or a device did, and
    /// was_running() changes.
    virtual Result<bool> stopped_for_migration() = 0;

    /// Whether a manager has completed the migration, or does by the deadline: the VM is whole at
    /// the destination, whatever fails here.
    [[nodiscard]] virtual bool completed_by_manager(Deadline /*deadline*/) const { return false; }

    /// The VM is at the destination: ends the source's part. Errors: needs_operator, if that may
    /// matter to the VM; else others.
    virtual Result<void> finish(transfer::DataPlane& data, bool converged) = 0;
    /// Before the VM was handed over: lets it run on here as if nothing had happened.
    /// @param data nullptr if there is no stream yet. @param switched_over the VM was stopped
    virtual Result<void> take_back(transfer::DataPlane* data, bool switched_over) = 0;
    /// What to do if take_back() failed.
    [[nodiscard]] virtual std::string how_to_take_back(bool switched_over) const = 0;
    /// Of a managed VM: its name, and the command that finishes its migration; else empty.
    [[nodiscard]] virtual std::string domain() const { return {}; }
    [[nodiscard]] virtual std::string finish_line() const { return {}; }
    /// What to do if the migration failed after the VM was handed over.
    [[nodiscard]] virtual std::string how_to_continue() = 0;

  protected:
    SourceQemu(qmp::Client qmp, pid_t pid)
        : qmp_(std::move(qmp)), pid_(pid), output_(qmp::ErrorOutput::of(qmp_)) {}

    /// Checks QEMU's version, that the VM is running or paused, and that guest RAM can be read.
    /// Changes nothing. Errors: io, unsupported.
    Result<void> check();
    void set_was_running(bool running) { was_running_ = running; }

  private:
    Result<void> check_state();
    Result<void> check_memory();

    qmp::Client qmp_;
    pid_t pid_;
    qmp::ErrorOutput output_;
    state::Process identity_;
    bool was_running_ = false;
    std::vector<qmp::RamBlock> guest_ram_;
};

}  // namespace gc::migrate

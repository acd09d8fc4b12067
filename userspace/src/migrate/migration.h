// SPDX-License-Identifier: GPL-2.0-or-later
// One migration, from the checks to the report: the control loop of the source side.
#pragma once

#include "migrate/destination.h"
#include "migrate/forwarding.h"
#include "migrate/guide_run.h"
#include "migrate/options.h"
#include "migrate/progress.h"
#include "migrate/source_qemu.h"
#include "policy/migration_policy.h"
#include "qmp/migration.h"
#include "report/report.h"
#include "state/store.h"
#include "transfer/data_plane.h"
#include "util/guardian.h"
#include "util/signals.h"

#include <chrono>
#include <memory>
#include <optional>

namespace gc::migrate {

/// The phases, in order. Up to and including `switched_over`, any failure leaves the VM running at
/// the source; from `committed` on it never runs there again.
enum class Phase { preparing, precopy, switched_over, committed, resumed };

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): members are grouped by purpose
class Migration {
  public:
    /// Runs a migration to its end. The report tells how it ended.
    static report::Report run(const Options& options, Progress& progress, ErrorKind& failure);

  private:
    using Clock = std::chrono::steady_clock;

    Migration(const Options& options, Progress& progress)
        : options_(options), progress_(progress), precopy_(options.precopy),
          guide_(options, progress, report_), forwarding_(progress, report_.forward) {}

    // In the order of execution.
    /// What can be found out without touching anything.
    Result<void> check();
    Result<std::unique_ptr<SourceQemu>> open_source();
    /// Waits until somebody else has libvirt begin.
    Result<std::unique_ptr<SourceQemu>> open_proxy(const LibvirtOptions& options);
    Result<void> prepare();
    /// Starts the process that resumes the VM, should this one be killed.
    Result<void> guard();
    Result<void> greet();
    /// Compares both QEMUs and shows each difference. Errors: unsupported, if one is fatal.
    Result<void> compare_ends();
    /// Keeps a record on disk, from which `gcctl recover` and `gcctl take-back` know the migration.
    void keep_record();
    Result<void> prepare_policy();
    Result<void> prepare_hot();
    Result<void> open_channels();
    Result<void> start();
    Result<void> loop();

    /// Whether the VM may not run at the source any more, whatever fails.
    [[nodiscard]] bool handed_over() const;
    /// A manager that completes pre-copy by itself ends the source QEMU, perhaps before gcctl
    /// knows.
    /// @return no error if it did that
    Result<void> unless_completed(Result<void> step);
    /// Ends a migration that has failed. @return the kind and the text of the failure
    Error fail_with(Error error);
    /// The VM is whole at the destination all the same.
    void complete_despite(const Error& error);
    Result<void> tick();
    /// Whether memory may be sent while the VM runs at the source.
    [[nodiscard]] bool may_precopy() const;
    Result<bool> precopy_is_over();
    /// Starts post-copy once pre-copy is over and its pages have arrived.
    Result<void> maybe_start_postcopy();
    /// Errors: io, if the VM stands still for too long.
    Result<void> check_switch_over() const;
    /// Errors: io, if the destination was not reached for too long.
    Result<void> on_connections();
    Result<void> on_notices();
    Result<void> on_notice(transfer::SwitchedOver& notice);
    Result<void> on_notice(transfer::Converged& notice);
    Result<void> on_notice(transfer::Pong& notice);
    Result<void> on_notice(transfer::Shut& notice);
    Result<void> on_notice(transfer::AllSent& notice);
    Result<void> on_notice(transfer::Broken& notice);
    Result<void> on_destination();
    /// When something has failed: waits a moment for the destination's gcctl, which may know the
    /// cause. @return the better error, if it does
    Result<void> hear_destination(std::chrono::milliseconds limit);
    /// After the commit the VM needs its pages, whatever happens to the control channel.
    Result<void> on_control_error(const Error& error);
    Result<void> on_destination_message(const peer::Message& message);
    Result<void> on_message(const peer::Resumed& resumed);
    Result<void> on_message(const peer::Completed& completed);
    Result<void> on_message(const peer::Refused& refused);
    Result<void> on_message(const peer::Failed& failed);
    /// Those of the measurement are read by take_measurement(); `ready` cannot come again.
    template <typename Other> Result<void> on_message(const Other& /*other*/) { return {}; }
    Result<void> on_source_news();
    Result<void> on_source_failure(const SourceNews& news);
    Result<void> on_run_state(const SourceNews& news);
    /// If the VM has been stopped or resumed, not by gcctl.
    void tell_run_state(bool before);
    Result<void> on_source_lost(const Error& error);
    Result<void> on_signals();
    /// Once the destination has accepted the state, and the source QEMU cannot run it any more.
    Result<void> maybe_commit();
    Result<void> commit();

    Result<void> finish();
    void take_measured();
    Error roll_back(Error error);
    void await_refused();
    Error give_up(Error error);
    void fill_report();
    void show_progress();

    const Options& options_;
    Progress& progress_;
    report::Report report_;
    Phase phase_ = Phase::preparing;
    Precopy precopy_;
    Clock::time_point begun_{};
    Clock::time_point stopped_{};
    std::chrono::system_clock::time_point stopped_wall_{};  ///< the same moment
    std::optional<Signals> signals_;
    std::unique_ptr<SourceQemu> source_;
    qmp::Settings before_;              ///< of a source QEMU that gcctl drives
    std::optional<Guardian> guardian_;  ///< nullopt if a manager drives the source QEMU
    std::optional<state::Journal> journal_;
    std::unique_ptr<Destination> destination_;
    std::optional<policy::MigrationPolicy> policy_;
    GuideRun guide_;
    Forwarding forwarding_;
    std::unique_ptr<transfer::DataPlane> data_;
    transfer::WarmPages warm_;  ///< until the data plane takes it
    std::uint32_t awaited_pong_ = 0;
    std::optional<Clock::time_point> held_since_;  ///< see SourceQemu::hold()
    bool postcopy_requested_ = false;
    bool accepted_ = false;  ///< the device state, by the destination QEMU
    /// The source QEMU's migration is postcopy-active: when it breaks, it waits to be continued.
    bool frozen_ = false;
    bool converged_ = false;
    bool never_ran_ = false;  ///< the destination has proved that the VM did not run there
    bool all_sent_ = false;
    bool shut_ = false;
    bool control_lost_ = false;      ///< after the commit
    bool source_completed_ = false;  ///< by its manager, without gcctl's command
    bool source_lost_ = false;       ///< its QEMU ended, after the commit
    bool destination_completed_ = false;
};

}  // namespace gc::migrate

// SPDX-License-Identifier: GPL-2.0-or-later
// One migration, from the checks to the report: the control loop of the source side.
#pragma once

#include "guide/guide.h"
#include "migrate/options.h"
#include "migrate/progress.h"
#include "migrate/source_qemu.h"
#include "mirror/injector.h"
#include "peer/channels.h"
#include "peer/control.h"
#include "peer/dialer.h"
#include "peer/security.h"
#include "policy/migration_policy.h"
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
        : options_(options), progress_(progress) {}

    // In the order of execution.
    /// What can be found out without touching anything.
    Result<void> check();
    Result<void> prepare();
    Result<void> greet();
    Result<peer::Security> find_destination();
    /// Compares both QEMUs and shows each difference. Errors: unsupported, if one is fatal.
    Result<void> compare_ends();
    /// Keeps a record on disk, from which `gcctl recover` and `gcctl take-back` know the migration.
    void keep_record();
    Result<void> prepare_policy();
    Result<void> prepare_hot();
    void prepare_guide();
    Result<std::unique_ptr<guide::Guide>> start_guide();
    /// Finds out whether the guide can be shown what arrives for the VM. Errors: unsupported, with
    /// --mirror on, if not.
    Result<void> prepare_mirror();
    /// @return why not, or not of all NICs; else empty
    std::string choose_mirrored();
    Result<void> start_mirror();
    void end_mirror();
    Result<void> create_channels(int version, peer::Connection control);
    Result<void> open_channels();
    Result<void> start();
    Result<void> loop();

    Result<void> tick();
    [[nodiscard]] bool wants_precopy() const;
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
    Result<void> hear_destination();
    /// After the commit the VM needs its pages, whatever happens to the control channel.
    Result<void> on_control_error(const Error& error);
    Result<void> on_destination_message(const peer::Message& message);
    Result<void> on_message(const peer::Ready& ready);
    Result<void> on_message(const peer::Resumed& resumed);
    Result<void> on_message(const peer::Completed& completed);
    Result<void> on_message(const peer::Refused& refused);
    Result<void> on_message(const peer::Failed& failed);
    /// Of the measurement, which take_measurement() reads.
    template <typename Other> Result<void> on_message(const Other& /*other*/) { return {}; }
    Result<void> on_source_events();
    Result<void> on_run_state(bool stopped, Clock::time_point when);
    /// If the VM has been stopped or resumed, not by gcctl.
    void tell_run_state(bool before);
    Result<void> on_source_lost(const Error& error);
    Result<void> on_signals();
    void on_guide();
    /// Once the destination has accepted the state, and the source QEMU cannot run it any more.
    Result<void> maybe_commit();
    Result<void> commit();

    Result<void> finish();
    Result<void> end_source();
    Result<void> kill_source();
    void take_measured();
    Error roll_back(Error error);
    void await_refused();
    Error give_up(Error error);
    void end_guide(report::GuideEnd end, std::string_view reason);
    /// @return whether the VM runs at the source again, or is paused as it was
    Result<void> resume_source();
    void fill_report();
    void show_progress();

    const Options& options_;
    Progress& progress_;
    report::Report report_;
    Phase phase_ = Phase::preparing;
    Clock::time_point begun_{};
    Clock::time_point stopped_{};
    std::optional<Signals> signals_;
    std::optional<SourceQemu> source_;
    std::optional<Guardian> guardian_;
    std::optional<state::Journal> journal_;
    std::optional<peer::Dialer> dialer_;
    std::shared_ptr<peer::Channels> channels_;
    std::optional<peer::Control> control_;
    peer::Protection protection_ = peer::Protection::loopback;
    std::optional<RemoteReceive> remote_;          ///< with ssh
    Endpoint to_;                                  ///< where the destination's gcctl listens
    std::optional<peer::Digest> seal_;             ///< of the destination's right to refuse
    std::optional<peer::VmFacts> destination_vm_;  ///< nullopt from an older gcctl
    bool preempt_ = false;
    std::optional<std::chrono::milliseconds> measure_;  ///< how long the destination measures
    std::optional<policy::MigrationPolicy> policy_;
    std::optional<peer::MirrorOffer> mirror_offer_;  ///< nullopt from an older gcctl
    std::vector<mirror::Injector::Port> mirrored_;
    std::unique_ptr<guide::Guide> guide_;
    std::unique_ptr<mirror::Injector> mirror_;
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
    bool control_lost_ = false;  ///< after the commit
    bool source_lost_ = false;   ///< its QEMU ended, after the commit
    bool destination_completed_ = false;
};

}  // namespace gc::migrate

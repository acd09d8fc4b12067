// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/migration.h"

#include "migrate/hot.h"
#include "migrate/libvirt_source.h"
#include "migrate/measurement.h"
#include "migrate/proxy_source.h"
#include "migrate/qmp_source.h"
#include "migrate/release.h"
#include "peer/refusal.h"
#include "preflight/compare.h"
#include "preflight/facts.h"
#include "qmp/migration.h"
#include "util/guarded.h"
#include "util/milliseconds.h"
#include "util/poll.h"
#include "util/print.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <sys/utsname.h>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

constexpr auto tick_interval = 50ms;
/// How long the VM keeps running until little is in flight.
constexpr auto max_hold = 2s;
/// For the destination to end its QEMU.
constexpr auto abandon_timeout = 5s;
/// For a connection that is missing when all is done.
constexpr auto farewell_timeout = 3s;
/// For the destination's reason why it failed; the VM may stand still meanwhile.
constexpr auto hear_timeout = 500ms;
/// The same if it has failed itself: gcctl there ends its QEMU before it says why.
constexpr auto refusal_timeout = 5s;
/// The same if libvirt's destination QEMU may have refused the VM, whose end it waits for.
constexpr auto verdict_timeout = 25s;
/// For a manager that has ended the source QEMU to say so.
constexpr auto completion_limit = 2s;

/// What the guardian does. @return its exit status
int resume_for_killed_gcctl(const std::string& source_qmp, bool was_running,
                            const qmp::Settings& before) {
    auto qmp = qmp::Client::connect(source_qmp, 10s);
    const Result<void> done = qmp ? run_on(*qmp, was_running, 60s) : Unexpected(qmp.error());
    if (done)
        qmp::restore(*qmp, before);
    else
        print_best_effort(
            stderr,
            "gcctl was killed before the VM was handed over, and the VM could not be resumed at "
            "the source: {}; run 'gcctl take-back --qmp {}'\n",
            done.error().message, source_qmp);
    return done ? 0 : 1;
}

std::string kernel_release() {
    utsname name{};
    return ::uname(&name) == 0 ? name.release : "unknown";
}

}  // namespace

report::Report Migration::run(const Options& options, Progress& progress, ErrorKind& failure) {
    Migration migration(options, progress);
    const Result<void> finished = guarded([&]() -> Result<void> {
        GC_CHECK(migration.check());
        if (options.check)
            return {};
        GC_CHECK(migration.prepare());
        GC_CHECK(migration.start());
        GC_CHECK(migration.loop());
        return migration.finish();
    });
    if (!finished)
        failure = migration.fail_with(finished.error()).kind;
    migration.fill_report();
    return migration.report_;
}

// ---- before anything is touched

Result<void> Migration::check() {
    report_.kernel = kernel_release();
    report_.next.pages = options_.next_pages;
    report_.compress.mode = static_cast<report::CompressMode>(options_.compress);
    GC_TRY(signals_, Signals::block());
    GC_TRY(source_, open_source());
    report_.qemu.source = source_->version();

    GC_CHECK(greet());
    GC_CHECK(compare_ends());
    if (!options_.check)
        return {};
    // Without this, the destination would wait for the channels of a source that is gone.
    (void)destination_->control().send(peer::Abandon{"it only checked (--check)"});
    report_.result = report::Outcome::completed;
    progress_.milestone("checked", "checked: the VM can be migrated; nothing was touched");
    return {};
}

Result<std::unique_ptr<SourceQemu>> Migration::open_source() {
    if (options_.libvirt) {
        if (options_.libvirt->proxy && !options_.check)
            return open_proxy(*options_.libvirt);
        GC_TRY(auto source, LibvirtSource::open(*options_.libvirt));
        return std::unique_ptr<SourceQemu>(std::move(source));
    }
    GC_TRY(auto source, QmpSource::open(options_.qmp, options_.kill_source));
    before_ = source->settings_before();
    return std::unique_ptr<SourceQemu>(std::move(source));
}

Result<std::unique_ptr<SourceQemu>> Migration::open_proxy(const LibvirtOptions& options) {
    const auto waiting = [&](const std::string& uri) {
        progress_.event("waiting", {{"uri", uri}},
                        fmt::format("waiting for libvirt, e.g.: virsh migrate --live --postcopy "
                                    "--migrateuri {} {} URI",
                                    uri, options.domain));
    };
    GC_TRY(auto source, ProxySource::open(options, signals_->fd(), waiting));
    return std::unique_ptr<SourceQemu>(std::move(source));
}

Result<void> Migration::prepare() {
    keep_record();
    if (!source_->managed())
        GC_CHECK(guard());
    GC_CHECK(prepare_policy());
    GC_CHECK(prepare_hot());
    guide_.prepare(*source_);
    forwarding_.prepare(options_.forward, *source_, destination_->offer(), destination_->channels(),
                        policy_ ? policy_->marks()[ledger::PageClass::guide] : 0);
    const auto& mirror = destination_->offer().mirror;
    return guide_.prepare_mirror(mirror && !destination_->channels().are_raw() ? &*mirror
                                                                               : nullptr);
}

Result<void> Migration::guard() {
    GC_TRY(Guardian guardian, Guardian::start([this](std::uint8_t was_running) {
               const int status = resume_for_killed_gcctl(options_.qmp, was_running != 0, before_);
               if (status == 0 && journal_)
                   journal_->finish();
               return status;
           }));
    guardian_.emplace(std::move(guardian));
    guardian_->arm(source_->was_running() ? 1 : 0);
    return {};
}

void Migration::keep_record() {
    const auto journal = [this]() -> Result<state::Journal> {
        GC_TRY(std::string id, destination_->migration_id());
        return state::keep({.id = std::move(id),
                            .role = state::Role::source,
                            .gcctl = {},
                            .qmp = options_.qmp,
                            .domain = source_->domain(),
                            .finish = source_->finish_line(),
                            .qemu = {},
                            .peer = destination_->address().str(),
                            .arguments = options_.arguments,
                            .runs = source_->was_running(),
                            .capabilities = before_.capabilities,
                            .parameters = before_.parameters},
                           source_->pid());
    }();
    if (journal)
        journal_ = *journal;
    else
        progress_.warning(
            fmt::format("no record of the migration: {}; 'gcctl status' will not show "
                        "it",
                        journal.error().message));
}

Result<void> Migration::greet() {
    GC_TRY(destination_, Destination::connect(options_));
    report_.security = destination_->security();
    if (report_.security.protection == peer::Protection::insecure)
        progress_.warning("--insecure: whoever is on the network can read and change the VM");
    GC_CHECK(destination_->await_ready(source_->memory_bytes(), may_precopy()));
    const peer::Ready& offer = destination_->offer();
    report_.qemu.destination = offer.qemu;
    if (options_.compress != transfer::Compress::off && offer.compressions.empty())
        report_.compress.reason = "the destination's gcctl is older and cannot decompress";
    return {};
}

Result<void> Migration::compare_ends() {
    // A manager starts the destination QEMU later, and compares by itself.
    if (source_->managed())
        return {};
    const auto& theirs = destination_->offer().vm;
    if (!theirs) {
        progress_.warning("the destination's gcctl does not describe its QEMU: the two ends were "
                          "not compared");
        return {};
    }
    GC_TRY(const peer::VmFacts ours, preflight::facts_of(source_->qmp()));
    std::string fatal;
    for (const preflight::Difference& each : preflight::compare(ours, *theirs)) {
        progress_.difference(each);
        if (each.fatal && fatal.empty())
            fatal = fmt::format("{}: {}", each.what, each.consequence);
    }
    if (fatal.empty() || options_.allow_differences)
        return {};
    (void)destination_->control().send(peer::Abandon{fatal});
    return fail(ErrorKind::unsupported, "{}; to migrate all the same, give --allow-differences",
                fatal);
}

Result<void> Migration::prepare_policy() {
    if (options_.policy == "none")
        return {};
    auto lease = policy::MigrationPolicy::begin(
        {.policy = options_.policy,
         .device = options_.policy_device,
         .link_bytes_per_s = options_.policy_link,
         .object = options_.policy_object,
         .peer = destination_->channels()[peer::ChannelId::control].socket()});
    if (lease) {
        policy_.emplace(std::move(*lease));
        destination_->channels().set_mark(policy_->marks()[ledger::PageClass::urgent]);
        progress_.detail(
            "policy", {{"name", policy_->policy_name()}, {"device", policy_->device()}},
            fmt::format("the policy '{1}' shapes {0}", policy_->device(), policy_->policy_name()));
        for (const std::string& warning : policy_->warnings())
            progress_.warning(warning);
        return {};
    }
    if (options_.policy_required || lease.error().kind == ErrorKind::usage)
        return Unexpected(lease.error());
    report_.policy.reason = lease.error().message;
    progress_.warning(fmt::format("no traffic policy: {}; migrating without one (as with --policy "
                                  "none)",
                                  lease.error().message));
    return {};
}

Result<void> Migration::prepare_hot() {
    if (options_.hot.empty())
        return {};
    report_.hot.from = options_.hot;
    auto hot = options_.hot == "auto" ? hot_of_vm(source_->qmp())
                                      : hot_of_file(options_.hot, source_->guest_ram());
    if (hot) {
        warm_ = std::move(*hot);
        report_.hot.pages = warm_.pages.size();
        progress_.detail("hot-set", {{"pages", report_.hot.pages}},
                         fmt::format("the hot set has {} pages", report_.hot.pages));
        return {};
    }
    // A bad file is the user's error. Without tracking, the migration still works.
    if (options_.hot != "auto")
        return Unexpected(hot.error());
    report_.hot.reason = hot.error().message;
    progress_.warning(fmt::format("no hot set: {}; migrating without one", hot.error().message));
    return {};
}

// ---- pre-copy

Result<void> Migration::open_channels() {
    std::vector<peer::ChannelId> others;
    if (guide_.mirrors())
        others.push_back(peer::ChannelId::mirror);
    if (forwarding_.on())
        others.push_back(peer::ChannelId::forward);
    return destination_->open_channels(others);
}

Result<void> Migration::start() {
    begun_ = Clock::now();
    precopy_.begin(begun_);
    // A manager's destination QEMU listens once the source is connected. Nothing is touched before.
    const bool source_first = source_->managed();
    GC_TRY(const std::string id, destination_->migration_id());
    source_->set_id(id);
    if (!source_first) {
        phase_ = Phase::precopy;
        GC_CHECK(open_channels());
    }
    GC_TRY(std::vector<image::ImageBlock> blocks, source_->open_image());
    GC_TRY(image::SourceImage image, image::SourceImage::open(std::move(blocks)));
    GC_TRY(UniqueFd stream, source_->start(options_.precopy.any() ? SourceQemu::Pace::full
                                                                  : SourceQemu::Pace::held));
    if (source_first) {
        phase_ = Phase::precopy;
        GC_CHECK(open_channels());
    }
    const peer::Ready& offer = destination_->offer();
    peer::Channels& channels = destination_->channels();
    const transfer::PageChannels of_pages{
        .main = &channels[peer::ChannelId::main],
        .bulk = &channels[peer::ChannelId::bulk],
        .urgent = offer.preempt ? &channels[peer::ChannelId::urgent] : nullptr};
    GC_TRY(data_, transfer::DataPlane::create(
                      {std::move(stream), of_pages, source_->preempt()}, std::move(image),
                      {.bandwidth = options_.bandwidth,
                       .guide_wait = guide_.exists() ? options_.guide_wait : 0ms,
                       .next_pages = options_.next_pages,
                       .hold_background = options_.hold_background,
                       .keep_deliveries = offer.measure.has_value(),
                       .marks = policy_ ? policy_->marks() : transfer::Marks{},
                       .guide_requests = guide_.answers_requests(),
                       .tell_zeros = offer.version >= peer::zeros_version && !source_->managed(),
                       .compress = options_.compress,
                       .compressions = offer.compressions,
                       .frame_urgent = offer.version >= peer::compression_version},
                      guide_.feeds()));
    data_->set_warm(std::move(warm_));
    guide_.connect(*data_);
    data_->start();
    if (guide_.mirrors())
        GC_CHECK(guide_.start_mirror(channels[peer::ChannelId::mirror]));
    progress_.milestone("started", fmt::format("migrating to {}", destination_->address().str()));
    return maybe_start_postcopy();
}

bool Migration::may_precopy() const {
    return options_.precopy.any() || !source_->chooses_switch_over();
}

Result<bool> Migration::precopy_is_over() {
    if (!options_.precopy.any())
        return true;
    std::optional<PrecopyProgress> progress;
    if (precopy_.counts_rounds()) {
        GC_TRY(progress, source_->precopy_progress());
    }
    const std::uint64_t sent = data_->bytes().in[ledger::PageClass::precopy];
    const auto why = precopy_.over(progress, sent, Clock::now());
    report_.precopy = precopy_.report();
    if (!why)
        return false;
    progress_.detail("precopy-over", {{"why", report::name(*why)}, {"bytes", sent}},
                     fmt::format("pre-copy is over ({}) after {:.1f} MiB", report::name(*why),
                                 static_cast<double>(sent) / (1 << 20)));
    return true;
}

Result<void> Migration::maybe_start_postcopy() {
    if (postcopy_requested_ || !data_->announced() || !source_->chooses_switch_over())
        return {};
    // There is no way back: not while the state could not be sent, nor when it is sent already.
    if (source_->managed() &&
        (converged_ || source_completed_ || destination_->channels().outage()))
        return {};
    if (!held_since_) {
        GC_TRY(const bool over, precopy_is_over());
        if (!over)
            return {};
        GC_CHECK(source_->hold());
        held_since_ = Clock::now();
    }
    if (data_->in_flight() > source_->max_in_flight() && Clock::now() - *held_since_ < max_hold)
        return {};
    // If a QEMU of gcctl's own fails to, it may have been stopped. A manager refuses it whole.
    postcopy_requested_ = !source_->managed();
    if (source_->managed())
        state::set(journal_, state::Phase::switched_over);
    const bool was_running = source_->was_running();
    forwarding_.listen();
    GC_TRY(postcopy_requested_, source_->switch_over(*data_));
    tell_run_state(was_running);
    return {};
}

// ---- the loop

Result<void> Migration::loop() {
    const auto finished = [&] {
        return (destination_completed_ || control_lost_) && (converged_ || shut_);
    };
    while (!finished()) {
        std::array<pollfd, 6> waits{
            {{signals_->fd(), POLLIN, 0},
             {destination_->channels().fd(), POLLIN, 0},
             {source_lost_ ? -1 : source_->fd(), POLLIN, 0},
             {destination_completed_ || control_lost_ ? -1 : destination_->control().fd(), POLLIN,
              0},
             {data_->notices().fd(), POLLIN, 0},
             {guide_.fd(), POLLIN, 0}}};
        if (!source_->has_news())
            (void)poll_until(waits, tick_interval);
        // Notices first: the VM is waiting for the pong.
        GC_CHECK(on_notices());
        GC_CHECK(on_connections());
        GC_CHECK(on_destination());
        GC_CHECK(unless_completed(on_source_news()));
        GC_CHECK(on_signals());
        guide_.check();
        GC_CHECK(tick());
    }
    if (phase_ < Phase::resumed)
        return fail(ErrorKind::io, "the destination has all of the VM's memory, but the control "
                                   "connection was lost before it confirmed that the VM runs");
    return {};
}

bool Migration::handed_over() const {
    return phase_ >= Phase::committed || (postcopy_requested_ && source_->managed()) ||
           source_completed_;
}

Result<void> Migration::tick() {
    show_progress();
    forwarding_.check();
    GC_CHECK(check_switch_over());
    return phase_ == Phase::precopy ? unless_completed(maybe_start_postcopy()) : Result<void>{};
}

Result<void> Migration::unless_completed(Result<void> step) {
    if (step || !source_->completed_by_manager(completion_limit))
        return step;
    source_completed_ = true;
    return {};
}

Result<void> Migration::check_switch_over() const {
    const auto limit = options_.switch_over_limit + options_.guide_wait;
    if (handed_over() || stopped_ == Clock::time_point{} || Clock::now() - stopped_ < limit)
        return {};
    return fail(ErrorKind::io,
                "the VM stood still for {} ms and the destination did not confirm its state; see "
                "--switch-over-limit",
                limit.count());
}

Result<void> Migration::on_connections() {
    using Change = peer::Channels::Change;
    const Change change = destination_->channels().update();
    if (change == Change::lost) {
        const std::string cause = destination_->channels().cause().message;
        progress_.event("connection-lost", {{"cause", cause}},
                        fmt::format("connection lost, connecting again: {}", cause));
    } else if (change == Change::back) {
        const double seconds = in_ms(destination_->channels().last_outage()) / 1000;
        progress_.event("connection-back", {{"seconds", seconds}},
                        fmt::format("connection back after {:.1f} s", seconds));
    }
    const auto outage = destination_->channels().outage();
    if (!outage)
        return {};
    if (destination_->channels().unknown_there())
        return fail(ErrorKind::io, "the destination's gcctl is another one now: {}",
                    destination_->channels().cause().message);
    const auto limit = options_.reconnect_limit;
    if (!handed_over() && *outage >= limit)
        return fail(ErrorKind::io,
                    "the connection to the destination was lost for {} ms ({}); see "
                    "--reconnect-limit",
                    limit.count(), destination_->channels().cause().message);
    if (handed_over() && destination_->channels().gone_for() >= limit)
        return fail(ErrorKind::io,
                    "the destination's host is there, but its gcctl does not answer any more ({}); "
                    "see --reconnect-limit",
                    destination_->channels().cause().message);
    return {};
}

Result<void> Migration::on_notices() {
    while (auto notice = data_->notices().take())
        GC_CHECK(std::visit([this](auto& what) { return on_notice(what); }, *notice));
    return {};
}

Result<void> Migration::on_notice(transfer::SwitchedOver& notice) {
    phase_ = Phase::switched_over;
    state::set(journal_, state::Phase::switched_over);
    awaited_pong_ = notice.last_ping;
    if (!source_->was_running()) {
        stopped_ = Clock::now();  // the switch-over did not stop it
        guide_.end(report::GuideEnd::off, "the VM was stopped before the switch-over");
    }
    if (source_->managed() && stopped_ == Clock::time_point{}) {
        stopped_ = Clock::now();
        stopped_wall_ = std::chrono::system_clock::now();
    }
    progress_.milestone("switch-over", "switch-over: the VM is stopped, its state is being sent");
    guide_.load(std::move(notice.guide));
    return source_->managed() ? commit() : Result<void>{};
}

Result<void> Migration::on_notice(transfer::Converged&) {
    // Pre-copy has sent everything, so the guide is of no use.
    converged_ = true;
    if (may_precopy())
        report_.precopy.ended = report::PrecopyEnd::converged;
    guide_.end(report::GuideEnd::complete, "");
    return {};
}

Result<void> Migration::on_notice(transfer::Pong& notice) {
    if (phase_ == Phase::switched_over && notice.value == awaited_pong_)
        accepted_ = true;
    return maybe_commit();
}

Result<void> Migration::maybe_commit() {
    return phase_ == Phase::switched_over && accepted_ && frozen_ ? commit() : Result<void>{};
}

Result<void> Migration::commit() {
    if (guardian_)
        guardian_->dismiss();
    phase_ = Phase::committed;
    state::set(journal_, state::Phase::committed);
    GC_CHECK(destination_->control().send(peer::Commit{source_->was_running()}));
    forwarding_.start(source_->was_running(), stopped_wall_);
    progress_.milestone("commit");
    return {};
}

Result<void> Migration::on_notice(transfer::Shut& notice) {
    if (notice.status != 0) {
        GC_CHECK(hear_destination(refusal_timeout));
        return fail(ErrorKind::protocol, "the destination QEMU ended the migration with status {}",
                    notice.status);
    }
    shut_ = true;
    // Without post-copy, this is how the destination confirms that it has the whole VM.
    return converged_ ? commit() : Result<void>{};
}

Result<void> Migration::on_notice(transfer::AllSent&) {
    all_sent_ = true;
    guide_.end(report::GuideEnd::complete, "");
    return {};
}

Result<void> Migration::on_notice(transfer::Broken& notice) {
    GC_CHECK(hear_destination(notice.by_destination ? refusal_timeout : hear_timeout));
    return Unexpected(notice.error);
}

Result<void> Migration::hear_destination(std::chrono::milliseconds limit) {
    if (control_lost_)
        return {};
    // If libvirt has not let the VM run yet, the destination waits for its QEMU's end.
    const bool in_doubt = source_->managed() && phase_ == Phase::committed;
    const Deadline deadline(in_doubt ? verdict_timeout : limit);
    do {
        auto message = destination_->control().receive(deadline);
        if (!message || !*message)
            return {};
        GC_CHECK(on_destination_message(**message));
    } while (in_doubt && phase_ == Phase::committed);
    return {};
}

Result<void> Migration::on_destination() {
    // "completed" is its last message; then it closes the connection.
    while (!destination_completed_ && !control_lost_) {
        const auto message = destination_->control().receive(0ms);
        if (!message) {
            GC_CHECK(on_control_error(message.error()));
        } else if (!*message) {
            break;
        } else {
            GC_CHECK(on_destination_message(**message));
        }
    }
    return {};
}

Result<void> Migration::on_control_error(const Error& error) {
    if (!handed_over())
        return Unexpected(error);
    control_lost_ = true;
    destination_->control().close();
    progress_.warning(fmt::format("the control connection was lost: {}; the VM's memory is sent on",
                                  error.message));
    // If the VM runs, it should not wait for the background. If it does not, nothing is lost.
    data_->on_resumed();
    forwarding_.resumed();
    return {};
}

Result<void> Migration::on_destination_message(const peer::Message& message) {
    return std::visit([this](const auto& what) { return on_message(what); }, message);
}

Result<void> Migration::on_message(const peer::Resumed&) {
    phase_ = Phase::resumed;
    report_.guide.waited_ms = in_ms(data_->state_waited());
    data_->on_resumed();
    forwarding_.resumed();
    state::set(journal_, state::Phase::running);
    if (source_->was_running())
        report_.downtime_ms = in_ms(Clock::now() - stopped_);
    progress_.event(
        "resumed", {{"downtime_ms", report_.downtime_ms}},
        source_->was_running()
            ? fmt::format("the VM runs at the destination after {:.1f} ms", report_.downtime_ms)
            : "the VM is at the destination, paused as it was");
    return {};
}

/// The migration is complete: missing figures are worth a warning, not a failure.
Result<void> Migration::on_message(const peer::Completed& completed) {
    destination_completed_ = true;
    if (completed.demand)
        report_.demand = *completed.demand;
    report_.qemu_postcopy = completed.qemu;
    if (completed.delivered) {
        report_.forward.delivered = completed.delivered->packets;
        report_.forward.refused = completed.delivered->refused;
    }
    if (!completed.problem.empty())
        progress_.warning(fmt::format("demand faults were not measured: {}", completed.problem));
    return {};
}

Result<void> Migration::on_message(const peer::Refused& refused) {
    const bool proven = peer::opens(destination_->offer().seal, refused.proof);
    if (source_->managed() && handed_over()) {
        never_ran_ = proven;
        if (proven)
            state::set(journal_, state::Phase::never_ran);
        return fail(ErrorKind::io, "the destination refused the VM: {}", refused.reason);
    }
    if (handed_over() && !proven)
        return on_control_error(
            {ErrorKind::protocol, fmt::format("the other gcctl says after the commit, without "
                                              "proof, that it refused the VM ({})",
                                              refused.reason)});
    never_ran_ = true;
    state::set(journal_, state::Phase::switched_over);
    return fail(ErrorKind::unsupported, "the destination refused the VM: {}{}", refused.reason,
                phase_ >= Phase::switched_over
                    ? "; it runs on here, although this QEMU's query-migrate will say 'completed', "
                      "and can be migrated again, to another destination QEMU"
                    : "");
}

Result<void> Migration::on_message(const peer::Failed& failed) {
    return fail(ErrorKind::io, "the destination failed: {}", failed.reason);
}

Result<void> Migration::on_source_news() {
    using enum SourceNews::What;
    while (!source_lost_) {
        const auto next = source_->next_news(0ms);
        if (!next)
            return on_source_lost(next.error());
        const auto& news = *next;
        if (!news)
            return {};
        if (news->what == stopped || news->what == resumed) {
            GC_CHECK(on_run_state(*news));
        } else if (news->what == frozen) {
            frozen_ = true;
            GC_CHECK(maybe_commit());
        } else if (phase_ < Phase::committed || source_->managed()) {
            GC_CHECK(on_source_failure(*news));
        }
    }
    return {};
}

Result<void> Migration::on_source_failure(const SourceNews& news) {
    if (source_->managed())
        GC_CHECK(hear_destination(hear_timeout));
    const bool cancelled = news.what == SourceNews::What::cancelled;
    std::string reason = news.reason;
    if (!source_->managed()) {
        GC_TRY(const qmp::MigrationStatus now, qmp::query_migrate(source_->qmp()));
        reason = now.error;
    }
    const std::string written = source_->output().text();
    return fail(cancelled && !handed_over() ? ErrorKind::cancelled : ErrorKind::io,
                "the source QEMU's migration was {}{}{}{}{}", cancelled ? "cancelled" : "failed",
                reason.empty() ? "" : ": ", reason, written.empty() ? "" : "; ",
                written.empty() ? "" : source_->output().hint());
}

/// In pre-copy anybody may stop the VM, and resume it.
Result<void> Migration::on_run_state(const SourceNews& news) {
    if (stopped_ != Clock::time_point{} || phase_ > Phase::switched_over)
        return {};
    const bool was_running = source_->was_running();
    // Once post-copy is requested gcctl has stopped the VM, and the commit must not wait for QMP.
    bool for_migration = postcopy_requested_;
    if (!for_migration) {
        GC_TRY(for_migration, source_->stopped_for_migration());
    }
    if (!for_migration || news.what != SourceNews::What::stopped || !was_running) {
        tell_run_state(was_running);
        return {};
    }
    stopped_ = news.when;
    stopped_wall_ = news.emitted;
    return {};
}

void Migration::tell_run_state(bool before) {
    if (source_->was_running() == before)
        return;
    if (guardian_)
        guardian_->arm(source_->was_running() ? 1 : 0);
    progress_.event("run-state", {{"running", source_->was_running()}},
                    before ? "the VM was stopped at the source, not by gcctl"
                           : "the VM was resumed at the source");
}

/// Once the VM was handed over it needs the source QEMU's memory, not the source QEMU.
Result<void> Migration::on_source_lost(const Error& error) {
    if (!handed_over())
        return Unexpected(error);
    source_lost_ = true;
    progress_.event("source-lost", {{"cause", error.message}},
                    fmt::format("the source QEMU ended ({}; {}): the rest of the VM's memory is "
                                "sent if it is in a file",
                                error.message, source_->output().hint()));
    return {};
}

Result<void> Migration::on_signals() {
    while (const auto signal = signals_->take()) {
        if (*signal == SIGUSR1) {
            data_->release_background();
            progress_.detail("background-released", {}, "background sending begins");
        } else if (!handed_over()) {
            return fail(ErrorKind::cancelled, "interrupted; the VM keeps running at the source");
        } else if (destination_->channels().outage()) {
            return fail(ErrorKind::cancelled, "interrupted while the connection was lost ({})",
                        destination_->channels().cause().message);
        } else {
            progress_.warning(
                "the VM already runs at the destination and still needs its memory from here: the "
                "migration cannot be cancelled, and gcctl must run until it is complete");
        }
    }
    return {};
}

// ---- the end

Result<void> Migration::finish() {
    guide_.end(report::GuideEnd::complete, "");
    forwarding_.end();
    progress_.update({.phase = "finishing",
                      .pages = data_->pages(),
                      .bytes = data_->bytes().total,
                      .saved = data_->compression().saved(),
                      .lost_for = std::nullopt,
                      .mirror = std::nullopt});
    // If a connection is missing, the destination cannot be told that this is the end.
    (void)destination_->channels().await_complete(farewell_timeout);
    data_->stop();
    report_.total_ms = in_ms(Clock::now() - begun_);
    // Everything has arrived: a source QEMU that cannot end its migration is not a failure.
    if (source_lost_)
        data_->close_source();
    else if (auto ended = source_->finish(*data_, converged_);
             !ended && ended.error().kind == ErrorKind::needs_operator)
        return ended;
    else if (!ended)
        progress_.warning(
            fmt::format("the VM is at the destination, but the source QEMU did not end its "
                        "migration: {}; quit the source QEMU",
                        ended.error().message));
    state::finish(journal_);
    report_.result = report::Outcome::completed;
    progress_.event("completed", {{"total_ms", report_.total_ms}});
    take_measured();
    return {};
}

void Migration::take_measured() {
    const auto time = destination_->offer().measure;
    if (!time || control_lost_)
        return;
    progress_.milestone("measuring", "waiting for the destination's measurement");
    if (auto taken = take_measurement(destination_->control(), *signals_, *data_->ledger(), *time))
        report_.measured = *taken;
    else
        progress_.warning(fmt::format("the VM is at the destination, but could not be measured: {}",
                                      taken.error().message));
}

Error Migration::fail_with(Error error) {
    Error cause = error;
    const auto completed = [this] { return source_ && source_->completed_by_manager(0ms); };
    if (!completed())
        error = !handed_over() || never_ran_ ? roll_back(cause) : give_up(cause);
    if (completed()) {
        complete_despite(cause);
        return cause;
    }
    report_.result =
        error.kind == ErrorKind::cancelled ? report::Outcome::cancelled : report::Outcome::failed;
    report_.error = error.message;
    return error;
}

void Migration::complete_despite(const Error& error) {
    guide_.end(report::GuideEnd::complete, "");
    if (data_)
        data_->stop();
    progress_.warning(fmt::format("the VM is at the destination, as its manager has completed the "
                                  "migration; what failed here: {}",
                                  error.message));
    state::finish(journal_);
    report_.result = report::Outcome::completed;
    progress_.event("completed", {{"total_ms", report_.total_ms}});
}

Error Migration::roll_back(Error error) {
    // The guide shares the source's memory: it must be gone before the VM writes to it again.
    guide_.end(report::GuideEnd::off, "the migration ended before it was needed");
    forwarding_.end();
    const bool touched = phase_ >= Phase::precopy;
    if (destination_ && destination_->is_ready())
        (void)destination_->control().send(peer::Abandon{error.message});
    if (data_)
        data_->stop();
    if (!touched) {
        if (guardian_)
            guardian_->dismiss();
        state::finish(journal_);
        if (error.kind != ErrorKind::cancelled && error.kind != ErrorKind::usage)
            error.kind = ErrorKind::unsupported;  // nothing was touched
        return error;
    }
    // Before the commit the destination does not run the VM, whatever has become of it.
    const bool switched_over = phase_ >= Phase::switched_over;
    const Result<void> running = source_->take_back(data_.get(), switched_over);
    if (guardian_)
        guardian_->dismiss();
    if (!running && source_->ends(2s)) {
        state::finish(journal_);
        await_refused();
        return {ErrorKind::needs_operator,
                fmt::format("the source QEMU (process {}) ended during the migration, and its VM "
                            "with it, which did not run at the destination; start it again ({})",
                            source_->pid(), source_->output().hint())};
    }
    if (!running) {
        error.kind = ErrorKind::needs_operator;
        error.message +=
            fmt::format("; and the VM could not be resumed at the source: {}; {}",
                        running.error().message, source_->how_to_take_back(switched_over));
        return error;
    }
    state::finish(journal_);
    await_refused();
    if (error.kind != ErrorKind::cancelled)
        error.kind = ErrorKind::io;
    return error;
}

/// Lets the destination end its QEMU before this gcctl ends.
void Migration::await_refused() {
    for (const Deadline deadline(abandon_timeout);;) {
        const auto message = destination_->control().receive(deadline);
        if (!message || !*message || std::holds_alternative<peer::Refused>(**message))
            return;
    }
}

Error Migration::give_up(Error error) {
    guide_.end(report::GuideEnd::off, "the migration failed");
    forwarding_.end();
    if (data_)
        data_->stop();
    error.kind = ErrorKind::needs_operator;
    error.message += "; " + source_->how_to_continue();
    return error;
}

void Migration::fill_report() {
    if (policy_)
        report_.policy = policy_->end();
    if (data_) {
        report_.pages = data_->pages();
        report_.bytes = data_->bytes();
        report_.guide.pushed = report_.pages.in[ledger::PageClass::guide];
        report_.next.sent = data_->next_sent();
        report_.zeros = {.pages = data_->zeros().pages(), .runs = data_->zeros().runs()};
        const transfer::CompressionCounts& shrunk = data_->compression();
        report_.compress.bytes = shrunk.bytes;
        report_.compress.sent = shrunk.sent;
        report_.compress.cpu_ms = static_cast<double>(shrunk.cpu_ns) / 1e6;
    }
    if (destination_ && destination_->is_ready()) {
        const peer::Losses losses = destination_->channels().losses();
        report_.connection_losses = losses.count;
        report_.disconnected_ms = in_ms(losses.time);
    }
    if (report_.total_ms == 0 && begun_ != Clock::time_point{})
        report_.total_ms = in_ms(Clock::now() - begun_);
}

void Migration::show_progress() {
    constexpr std::array<std::string_view, 5> names{"preparing", "pre-copy", "switch-over",
                                                    "post-copy", "post-copy"};
    progress_.update({.phase = names[static_cast<std::size_t>(phase_)],
                      .pages = data_->pages(),
                      .bytes = data_->bytes().total,
                      .saved = data_->compression().saved(),
                      .lost_for = destination_->channels().outage(),
                      .mirror = guide_.mirrored()});
}

}  // namespace gc::migrate

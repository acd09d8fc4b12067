// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/migration.h"
#include "qmp/event.h"

#include "migrate/hot.h"
#include "migrate/measurement.h"
#include "migrate/release.h"
#include "peer/identity.h"
#include "peer/refusal.h"
#include "preflight/compare.h"
#include "preflight/facts.h"
#include "qmp/migration.h"
#include "util/guarded.h"
#include "util/poll.h"
#include "util/print.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sys/utsname.h>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

constexpr auto tick_interval = 50ms;
constexpr auto ready_timeout = 10s;
/// For ssh to log in, which may mean that the user types a password.
constexpr auto ssh_timeout = 120s;
/// Bytes of pre-copy that may still be in flight when post-copy starts: some of the pages that the
/// source QEMU sends while it is held. Until then the VM keeps running, for at most max_hold.
constexpr std::uint64_t max_in_flight = 4 * page_size;
constexpr auto max_hold = 2s;
/// For the destination to end its QEMU.
constexpr auto abandon_timeout = 5s;
/// For a connection that is missing when all is done.
constexpr auto farewell_timeout = 3s;
constexpr auto run_on_timeout = 30s;
/// For the destination's reason why it failed; the VM may stand still meanwhile.
constexpr auto hear_timeout = 500ms;
/// In a roll-back, for reading the rest of the memory from the source QEMU.
constexpr auto max_drain = 500ms;
/// For reading the rest of the memory from the source QEMU: a few seconds for each 8 GiB.
constexpr auto end_source_timeout = 600s;

template <typename Duration> double in_ms(Duration duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
}

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

std::uint64_t dropped(const mirror::InjectorCounts& counts) {
    return counts.left_out + counts.lost + counts.refused + counts.follower.skipped;
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
    if (!finished) {
        const Error error = migration.phase_ < Phase::committed || migration.never_ran_
                                ? migration.roll_back(finished.error())
                                : migration.give_up(finished.error());
        migration.report_.result = error.kind == ErrorKind::cancelled ? report::Outcome::cancelled
                                                                      : report::Outcome::failed;
        migration.report_.error = error.message;
        failure = error.kind;
    }
    migration.fill_report();
    return migration.report_;
}

// ---- before anything is touched

Result<void> Migration::check() {
    report_.kernel = kernel_release();
    report_.next.pages = options_.next_pages;
    GC_TRY(signals_, Signals::block());
    GC_TRY(source_, SourceQemu::open(options_.qmp, options_.kill_source));
    report_.qemu.source = source_->version();

    GC_CHECK(greet());
    GC_CHECK(compare_ends());
    if (!options_.check)
        return {};
    // Without this, the destination would wait for the channels of a source that is gone.
    (void)control_->send(peer::Abandon{"it only checked (--check)"});
    report_.result = report::Outcome::completed;
    progress_.milestone("checked", "checked: the VM can be migrated; nothing was touched");
    return {};
}

Result<void> Migration::prepare() {
    keep_record();

    GC_TRY(Guardian guardian, Guardian::start([this](std::uint8_t was_running) {
               const int status = resume_for_killed_gcctl(options_.qmp, was_running != 0,
                                                          source_->settings_before());
               if (status == 0 && journal_)
                   journal_->finish();
               return status;
           }));
    guardian_.emplace(std::move(guardian));
    guardian_->arm(source_->was_running() ? 1 : 0);
    GC_CHECK(prepare_policy());
    GC_CHECK(prepare_hot());
    prepare_guide();
    return prepare_mirror();
}

void Migration::keep_record() {
    const auto journal = [this]() -> Result<state::Journal> {
        GC_TRY(std::string id, peer::public_id(dialer_->token()));
        return state::keep({.id = std::move(id),
                            .role = state::Role::source,
                            .gcctl = {},
                            .qmp = options_.qmp,
                            .qemu = {},
                            .peer = to_.str(),
                            .arguments = options_.arguments,
                            .runs = source_->was_running(),
                            .capabilities = source_->settings_before().capabilities,
                            .parameters = source_->settings_before().parameters},
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

Result<peer::Security> Migration::find_destination() {
    if (options_.ssh) {
        GC_TRY(RemoteReceive remote, RemoteReceive::start(*options_.ssh, ssh_timeout));
        remote_.emplace(std::move(remote));
        to_ = remote_->listens_at();
        return peer::Security{peer::Protection::tls, remote_->credentials()};
    }
    to_ = options_.to;
    return peer::secure(options_.security, tls::Role::client, to_);
}

Result<void> Migration::greet() {
    GC_TRY(peer::Security security, find_destination());
    protection_ = security.protection;
    GC_TRY(dialer_,
           peer::Dialer::create(to_, std::move(security.credentials), options_.connect_timeout));
    GC_TRY(peer::Connection connection, dialer_->connect());
    report_.security = {protection_, "", ""};
    if (protection_ == peer::Protection::insecure)
        progress_.warning("--insecure: whoever is on the network can read and change the VM");
    if (const tls::Session* session = connection.session())
        report_.security = {protection_, session->peer(), session->describe()};
    const auto answer = peer::receive_answer(connection, ready_timeout);
    if (!answer)
        return fail(ErrorKind::unsupported,
                    "expected a 'gcctl receive' that is waiting for a VM at {}: {}", to_.str(),
                    answer.error().message);
    if (const auto* ready = std::get_if<peer::Ready>(&*answer)) {
        GC_CHECK(on_message(*ready));
        return create_channels(ready->version, std::move(connection));
    }
    if (const auto* refused = std::get_if<peer::Refused>(&*answer))
        return on_message(*refused);
    return fail(ErrorKind::protocol,
                "expected 'ready' or 'refused' from the destination, found '{}'",
                peer::name(peer::type_of(*answer)));
}

/// The most that one channel may hold of what the destination has not taken: what fits on the path
/// in two round trips, since acknowledgements are not sent at once.
std::size_t max_copied(int socket, std::uint64_t bandwidth) {
    constexpr std::uint64_t fast = 12'500'000'000;  // bytes per second: no NIC of today is faster
    constexpr std::uint64_t least = std::uint64_t{8} << 20, most = std::uint64_t{128} << 20;
    const std::uint64_t rate = bandwidth == 0 ? fast : std::min(bandwidth, fast);
    return std::clamp<std::uint64_t>(2 * rate * round_trip_us(socket) / 1'000'000, least, most);
}

Result<void> Migration::create_channels(int version, peer::Connection control) {
    if (version < peer::records_version) {
        GC_TRY(channels_, peer::Channels::raw());
    } else {
        // The pages of pre-copy may be sent any number of times.
        const std::uint64_t memory = source_->memory_bytes();
        const std::uint64_t on_main = wants_precopy() ? UINT64_MAX : memory;
        const auto dial = [this, memory, on_main](peer::ChannelId id, bool resume,
                                                  Deadline deadline) {
            // Of mirror, what the destination sends: packets, each in a record of its own.
            const std::uint64_t expected = id == peer::ChannelId::control  ? 0
                                           : id == peer::ChannelId::main   ? on_main
                                           : id == peer::ChannelId::mirror ? UINT64_MAX
                                                                           : memory;
            return dialer_->join(id, expected, resume, deadline);
        };
        GC_TRY(channels_,
               peer::Channels::create({.end = peer::End::source,
                                       .max_copied = max_copied(control.fd(), options_.bandwidth),
                                       .dial = dial}));
    }
    GC_CHECK(channels_->attach(peer::ChannelId::control, std::move(control), ready_timeout));
    control_.emplace((*channels_)[peer::ChannelId::control], peer::End::source,
                     peer::State::prepared);
    return {};
}

Result<void> Migration::on_message(const peer::Ready& ready) {
    if (ready.version < peer::oldest_version || ready.version > peer::newest_version)
        return fail(ErrorKind::unsupported,
                    "expected version {} to {} of the peer protocol, the destination chose {}; "
                    "install releases of gcctl that share a version",
                    peer::oldest_version, peer::newest_version, ready.version);
    report_.qemu.destination = ready.qemu;
    preempt_ = ready.preempt;
    measure_ = ready.measure;
    seal_ = ready.seal;
    destination_vm_ = ready.vm;
    mirror_offer_ = ready.mirror;
    return {};
}

Result<void> Migration::compare_ends() {
    if (!destination_vm_) {
        progress_.warning("the destination's gcctl does not describe its QEMU: the two ends were "
                          "not compared");
        return {};
    }
    GC_TRY(const peer::VmFacts ours, preflight::facts_of(source_->qmp()));
    std::string fatal;
    for (const preflight::Difference& each : preflight::compare(ours, *destination_vm_)) {
        progress_.difference(each);
        if (each.fatal && fatal.empty())
            fatal = fmt::format("{}: {}", each.what, each.consequence);
    }
    if (fatal.empty() || options_.allow_differences)
        return {};
    (void)control_->send(peer::Abandon{fatal});
    return fail(ErrorKind::unsupported, "{}; to migrate all the same, give --allow-differences",
                fatal);
}

Result<void> Migration::prepare_policy() {
    if (options_.policy == "none")
        return {};
    auto lease =
        policy::MigrationPolicy::begin({.policy = options_.policy,
                                        .device = options_.policy_device,
                                        .link_bytes_per_s = options_.policy_link,
                                        .peer = (*channels_)[peer::ChannelId::control].socket()});
    if (lease) {
        policy_.emplace(std::move(*lease));
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

Result<std::unique_ptr<guide::Guide>> Migration::start_guide() {
    GC_TRY(guide::ChosenCapture chosen, guide::choose_capture(options_.capture));
    GC_TRY(std::vector<image::ImageBlock> memory, source_->open_image());
    GC_TRY(auto guide,
           guide::Guide::prepare(source_->qmp(), source_->pid(), std::move(memory),
                                 {.lead = options_.lead, .memory = options_.guide_memory}, chosen));
    report_.capture = chosen.how;
    report_.capture_reason = std::move(chosen.reason);
    return guide;
}

void Migration::prepare_guide() {
    // A paused VM touches nothing, so its guide would not either.
    if (!options_.guide || !source_->was_running())
        return;
    auto guide = start_guide();
    if (!guide) {
        report_.guide.ended = report::GuideEnd::refused;
        report_.guide.reason = guide.error().message;
        progress_.event("guide-refused", {{"reason", guide.error().message}});
        progress_.warning(
            fmt::format("no guide: {}; migrating without one", guide.error().message));
        return;
    }
    guide_ = std::move(*guide);
    progress_.detail("guide-started",
                     {{"pid", guide_->pid()},
                      {"capture", name(report_.capture)},
                      {"why", report_.capture_reason}},
                     fmt::format("the guide is process {}, captured by {} ({})", guide_->pid(),
                                 name(report_.capture), report_.capture_reason));
    if (!guide_->without_sink().empty())
        progress_.warning(fmt::format("the guide's packets are dropped by its network namespace "
                                      "only, and not counted by protocol: {}",
                                      guide_->without_sink()));
}

std::string Migration::choose_mirrored() {
    if (options_.mirror == Mirror::off)
        return "--mirror off";
    if (!guide_)
        return "there is no guide";
    if (!mirror_offer_ || channels_->are_raw())
        return "the destination's gcctl is older and has none";
    std::string reason = mirror_offer_->reason;
    for (std::size_t i = 0; i < mirror_offer_->nics.size(); ++i) {
        const std::string& mac = mirror_offer_->nics[i];
        const auto nic = std::ranges::find(guide_->nics(), mac, &guide::Guide::Nic::mac);
        if (nic != guide_->nics().end())
            mirrored_.push_back({static_cast<std::uint16_t>(i), nic->device});
        else
            reason += fmt::format("{}the guide has no tap for the NIC {}",
                                  reason.empty() ? "" : "; ", mac);
    }
    return reason;
}

Result<void> Migration::prepare_mirror() {
    report::MirrorReport& report = report_.guide.mirror;
    report.reason = choose_mirrored();
    if (options_.mirror == Mirror::on && !report.reason.empty())
        return fail(ErrorKind::unsupported,
                    "the guide cannot be shown what arrives for the VM: {}; to migrate without, "
                    "leave out --mirror on",
                    report.reason);
    progress_.detail("mirror", {{"nics", mirrored_.size()}, {"reason", report.reason}},
                     mirrored_.empty() ? fmt::format("the guide sees no packets: {}", report.reason)
                                       : fmt::format("the guide will see what arrives for {} NICs",
                                                     mirrored_.size()));
    return {};
}

Result<void> Migration::start_mirror() {
    if (mirrored_.empty() || !guide_)
        return {};
    peer::Channel& channel = (*channels_)[peer::ChannelId::mirror];
    auto started = mirror::Injector::start(channel, guide_->network_namespace(), mirrored_);
    if (!started)
        channel.end_reading();
    if (!started && options_.mirror == Mirror::on)
        return Unexpected(started.error());
    if (!started) {
        report_.guide.mirror.reason = started.error().message;
        progress_.warning(fmt::format("the guide is not shown what arrives for the VM: {}",
                                      started.error().message));
        return {};
    }
    mirror_ = *std::move(started);
    report_.guide.mirror.on = true;
    report_.guide.mirror.nics = mirrored_.size();
    return {};
}

void Migration::end_mirror() {
    if (!mirror_)
        return;
    mirror_->stop();
    if (const auto error = mirror_->error())
        progress_.warning(fmt::format("the guide was no longer shown what arrives for the VM: {}",
                                      error->message));
    const mirror::InjectorCounts counts = mirror_->counts();
    report::MirrorReport& report = report_.guide.mirror;
    report.packets = counts.follower.packets;
    report.bytes = counts.follower.bytes;
    report.again = counts.follower.again;
    report.dropped = dropped(counts);
    report.connections = counts.follower.connections;
    report.in_step = counts.follower.in_step;
    report.dead = counts.follower.dead;
    mirror_.reset();
}

// ---- pre-copy

Result<void> Migration::open_channels() {
    std::vector<peer::ChannelId> ids{peer::ChannelId::main, peer::ChannelId::bulk};
    if (preempt_)
        ids.insert(ids.begin() + 1, peer::ChannelId::urgent);
    if (!mirrored_.empty())
        ids.push_back(peer::ChannelId::mirror);
    if (channels_->are_raw()) {
        for (const peer::ChannelId id : ids) {
            const bool pages_again = id == peer::ChannelId::main && wants_precopy();
            GC_TRY(peer::Connection connection,
                   dialer_->join(id, pages_again ? UINT64_MAX : source_->memory_bytes(), false,
                                 dialer_->timeout()));
            GC_CHECK(channels_->attach(id, std::move(connection), dialer_->timeout()));
        }
    } else {
        GC_CHECK(channels_->open(ids, dialer_->timeout()));
    }
    control_->opened();
    return {};
}

Result<void> Migration::start() {
    begun_ = Clock::now();
    phase_ = Phase::precopy;
    GC_CHECK(open_channels());
    GC_TRY(std::vector<image::ImageBlock> blocks, source_->open_image());
    GC_TRY(image::SourceImage image, image::SourceImage::open(std::move(blocks)));
    GC_TRY(UniqueFd stream,
           source_->start(wants_precopy() ? SourceQemu::Pace::full : SourceQemu::Pace::held));
    transfer::PageChannels channels{.main = &(*channels_)[peer::ChannelId::main],
                                    .bulk = &(*channels_)[peer::ChannelId::bulk],
                                    .urgent = preempt_ ? &(*channels_)[peer::ChannelId::urgent]
                                                       : nullptr};
    GC_TRY(data_, transfer::DataPlane::create(
                      {std::move(stream), channels}, std::move(image),
                      {.bandwidth = options_.bandwidth,
                       .guide_wait = guide_ ? options_.guide_wait : 0ms,
                       .next_pages = options_.next_pages,
                       .hold_background = options_.hold_background,
                       .keep_deliveries = measure_.has_value(),
                       .marks = policy_ ? policy_->marks() : transfer::Marks{},
                       .guide_requests = guide_ && guide_->server() != nullptr},
                      guide_ ? guide_->feeds() : std::vector<capture::BlockRecords>{}));
    data_->set_warm(std::move(warm_));
    data_->start();
    GC_CHECK(start_mirror());
    progress_.milestone("started", fmt::format("migrating to {}", to_.str()));
    return maybe_start_postcopy();
}

bool Migration::wants_precopy() const {
    return options_.precopy_rounds > 0 || options_.precopy_time.count() > 0;
}

Result<bool> Migration::precopy_is_over() {
    if (!wants_precopy())
        return true;
    if (options_.precopy_time.count() > 0 && Clock::now() - begun_ >= options_.precopy_time)
        return true;
    if (options_.precopy_rounds == 0)
        return false;
    // dirty-sync-count is 1 during the first pass.
    GC_TRY(const unsigned syncs, source_->precopy_rounds());
    return syncs > options_.precopy_rounds;
}

Result<void> Migration::maybe_start_postcopy() {
    if (postcopy_requested_ || !data_->announced())
        return {};
    if (!held_since_) {
        GC_TRY(const bool over, precopy_is_over());
        if (!over)
            return {};
        GC_CHECK(source_->hold());
        held_since_ = Clock::now();
    }
    if (data_->in_flight() > max_in_flight && Clock::now() - *held_since_ < max_hold)
        return {};
    postcopy_requested_ = true;
    GC_CHECK(data_->free_source());
    const bool was_running = source_->was_running();
    GC_CHECK(source_->switch_over());
    tell_run_state(was_running);
    return data_->wake_source();
}

// ---- the loop

Result<void> Migration::loop() {
    const auto finished = [&] {
        return (destination_completed_ || control_lost_) && (converged_ || shut_);
    };
    while (!finished()) {
        std::array<pollfd, 6> waits{
            {{signals_->fd(), POLLIN, 0},
             {channels_->fd(), POLLIN, 0},
             {source_lost_ ? -1 : source_->qmp().fd(), POLLIN, 0},
             {destination_completed_ || control_lost_ ? -1 : control_->fd(), POLLIN, 0},
             {data_->notices().fd(), POLLIN, 0},
             {guide_ ? guide_->fd() : -1, POLLIN, 0}}};
        if (!source_->qmp().has_event())
            (void)poll_until(waits, tick_interval);
        // Notices first: the VM is waiting for the pong.
        GC_CHECK(on_notices());
        GC_CHECK(on_connections());
        GC_CHECK(on_destination());
        GC_CHECK(on_source_events());
        GC_CHECK(on_signals());
        on_guide();
        GC_CHECK(tick());
    }
    if (phase_ < Phase::resumed)
        return fail(ErrorKind::io, "the destination has all of the VM's memory, but the control "
                                   "connection was lost before it confirmed that the VM runs");
    return {};
}

Result<void> Migration::tick() {
    show_progress();
    GC_CHECK(check_switch_over());
    return phase_ == Phase::precopy ? maybe_start_postcopy() : Result<void>{};
}

Result<void> Migration::check_switch_over() const {
    const auto limit = options_.switch_over_limit + options_.guide_wait;
    if (phase_ >= Phase::committed || stopped_ == Clock::time_point{} ||
        Clock::now() - stopped_ < limit)
        return {};
    return fail(ErrorKind::io,
                "the VM stood still for {} ms and the destination did not confirm its state; see "
                "--switch-over-limit",
                limit.count());
}

Result<void> Migration::on_connections() {
    using Change = peer::Channels::Change;
    const Change change = channels_->update();
    if (change == Change::lost) {
        const std::string cause = channels_->cause().message;
        progress_.event("connection-lost", {{"cause", cause}},
                        fmt::format("connection lost, connecting again: {}", cause));
    } else if (change == Change::back) {
        const double seconds = in_ms(channels_->last_outage()) / 1000;
        progress_.event("connection-back", {{"seconds", seconds}},
                        fmt::format("connection back after {:.1f} s", seconds));
    }
    const auto outage = channels_->outage();
    if (!outage)
        return {};
    if (channels_->unknown_there())
        return fail(ErrorKind::io, "the destination's gcctl is another one now: {}",
                    channels_->cause().message);
    const auto limit = options_.reconnect_limit;
    if (phase_ < Phase::committed && *outage >= limit)
        return fail(ErrorKind::io,
                    "the connection to the destination was lost for {} ms ({}); see "
                    "--reconnect-limit",
                    limit.count(), channels_->cause().message);
    if (phase_ >= Phase::committed && channels_->gone_for() >= limit)
        return fail(ErrorKind::io,
                    "the destination's host is there, but its gcctl does not answer any more ({}); "
                    "see --reconnect-limit",
                    channels_->cause().message);
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
        end_guide(report::GuideEnd::off, "the VM was stopped before the switch-over");
    }
    progress_.milestone("switch-over", "switch-over: the VM is stopped, its state is being sent");
    if (guide_) {
        data_->guide_origin().serve(guide_->server());
        guide_->load(std::move(notice.guide), data_->guide_origin());
    }
    return {};
}

Result<void> Migration::on_notice(transfer::Converged&) {
    // Pre-copy has sent everything, so the guide is of no use.
    converged_ = true;
    end_guide(report::GuideEnd::complete, "");
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
    report_.guide.waited_ms = in_ms(data_->state_waited());
    guardian_->dismiss();
    phase_ = Phase::committed;
    state::set(journal_, state::Phase::committed);
    GC_CHECK(control_->send(peer::Commit{source_->was_running()}));
    progress_.milestone("commit");
    return {};
}

Result<void> Migration::on_notice(transfer::Shut& notice) {
    if (notice.status != 0) {
        GC_CHECK(hear_destination());
        return fail(ErrorKind::protocol, "the destination QEMU ended the migration with status {}",
                    notice.status);
    }
    shut_ = true;
    // Without post-copy, this is how the destination confirms that it has the whole VM.
    return converged_ ? commit() : Result<void>{};
}

Result<void> Migration::on_notice(transfer::AllSent&) {
    all_sent_ = true;
    end_guide(report::GuideEnd::complete, "");
    return {};
}

Result<void> Migration::on_notice(transfer::Broken& notice) {
    GC_CHECK(hear_destination());
    return Unexpected(notice.error);
}

Result<void> Migration::hear_destination() {
    if (control_lost_)
        return {};
    auto message = control_->receive(hear_timeout);
    return message && *message ? on_destination_message(**message) : Result<void>{};
}

Result<void> Migration::on_destination() {
    // "completed" is its last message; then it closes the connection.
    while (!destination_completed_ && !control_lost_) {
        const auto message = control_->receive(0ms);
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
    if (phase_ < Phase::committed)
        return Unexpected(error);
    control_lost_ = true;
    control_->close();
    progress_.warning(fmt::format("the control connection was lost: {}; the VM's memory is sent on",
                                  error.message));
    // If the VM runs, it should not wait for the background. If it does not, nothing is lost.
    data_->on_resumed();
    return {};
}

Result<void> Migration::on_destination_message(const peer::Message& message) {
    return std::visit([this](const auto& what) { return on_message(what); }, message);
}

Result<void> Migration::on_message(const peer::Resumed&) {
    phase_ = Phase::resumed;
    data_->on_resumed();
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
    if (!completed.problem.empty())
        progress_.warning(fmt::format("demand faults were not measured: {}", completed.problem));
    return {};
}

Result<void> Migration::on_message(const peer::Refused& refused) {
    if (phase_ >= Phase::committed && !peer::opens(seal_, refused.proof))
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

Result<void> Migration::on_source_events() {
    while (!source_lost_) {
        const auto next = source_->qmp().next_event(0ms);
        if (!next)
            return on_source_lost(next.error());
        const auto& event = *next;
        if (!event)
            return {};
        if (event->name == "STOP" || event->name == "RESUME")
            GC_CHECK(on_run_state(event->name == "STOP", event->arrived));
        if (event->name != "MIGRATION" || phase_ >= Phase::committed)
            continue;
        const std::string status = event->data.value("status", "");
        if (status == "postcopy-active") {
            frozen_ = true;
            GC_CHECK(maybe_commit());
        }
        if (status == "failed" || status == "cancelled") {
            GC_TRY(const qmp::MigrationStatus now, qmp::query_migrate(source_->qmp()));
            return fail(status == "cancelled" ? ErrorKind::cancelled : ErrorKind::io,
                        "the source QEMU's migration was {}{}{}", status,
                        now.error.empty() ? "" : ": ", now.error);
        }
    }
    return {};
}

/// In pre-copy anybody may stop the VM, and resume it.
Result<void> Migration::on_run_state(bool stopped, Clock::time_point when) {
    if (stopped_ != Clock::time_point{} || phase_ > Phase::switched_over)
        return {};
    const bool was_running = source_->was_running();
    // Once post-copy is requested gcctl has stopped the VM, and the commit must not wait for QMP.
    bool for_migration = postcopy_requested_;
    if (!for_migration) {
        GC_TRY(for_migration, source_->stopped_for_migration());
    }
    if (for_migration && stopped && was_running)
        stopped_ = when;
    else
        tell_run_state(was_running);
    return {};
}

void Migration::tell_run_state(bool before) {
    if (source_->was_running() == before)
        return;
    guardian_->arm(source_->was_running() ? 1 : 0);
    progress_.event("run-state", {{"running", source_->was_running()}},
                    before ? "the VM was stopped at the source, not by gcctl"
                           : "the VM was resumed at the source");
}

/// Once the VM was handed over it needs the source QEMU's memory, not the source QEMU.
Result<void> Migration::on_source_lost(const Error& error) {
    if (phase_ < Phase::committed)
        return Unexpected(error);
    source_lost_ = true;
    progress_.event("source-lost", {{"cause", error.message}},
                    fmt::format("the source QEMU ended ({}): the rest of the VM's memory is sent "
                                "if it is in a file",
                                error.message));
    return {};
}

Result<void> Migration::on_signals() {
    while (const auto signal = signals_->take()) {
        if (*signal == SIGUSR1) {
            data_->release_background();
            progress_.detail("background-released", {}, "background sending begins");
        } else if (phase_ < Phase::committed) {
            return fail(ErrorKind::cancelled, "interrupted; the VM keeps running at the source");
        } else if (channels_->outage()) {
            return fail(ErrorKind::cancelled, "interrupted while the connection was lost ({})",
                        channels_->cause().message);
        } else {
            progress_.warning(
                "the VM already runs at the destination and still needs its memory from here: the "
                "migration cannot be cancelled, and gcctl must run until it is complete");
        }
    }
    return {};
}

void Migration::on_guide() {
    if (!guide_)
        return;
    if (const auto loaded = guide_->take_loaded()) {
        data_->release_state();
        report_.guide.started = true;
        report_.guide.load_ms = in_ms(*loaded);
        report_.mode = report::Mode::guide;
        progress_.detail("guide-runs", {{"load_ms", report_.guide.load_ms}},
                         fmt::format("the guide runs, loaded in {:.1f} ms", report_.guide.load_ms));
    }
    if (const auto end = guide_->check())
        end_guide(end->how, end->reason);
}

void Migration::end_guide(report::GuideEnd end, std::string_view reason) {
    if (!guide_)
        return;
    if (data_) {
        data_->drop_guide();
        data_->release_state();
    }
    end_mirror();
    const guide::GuideTotals totals = guide_->stop();
    if (data_)
        data_->guide_origin().serve(nullptr);
    report_.guide.ended = end;
    report_.guide.reason = reason;
    report_.guide.records = totals.records;
    report_.guide.dropped = totals.dropped;
    report_.guide.blocked_ms = in_ms(totals.blocked);
    report_.guide.memory_bytes = totals.memory;
    report_.guide.sent = {.packets = totals.sent.packets,
                          .bytes = totals.sent.bytes,
                          .arp = totals.sent.arp,
                          .ipv4 = totals.sent.ipv4,
                          .ipv6 = totals.sent.ipv6,
                          .other = totals.sent.other,
                          .dropped_by = guide_->without_sink().empty() ? report::DroppedBy::ebpf
                                                                       : report::DroppedBy::netns};
    guide_.reset();
    const std::string_view how = name(end);
    progress_.detail(
        "guide-ended", {{"how", how}, {"reason", reason}},
        fmt::format("the guide ended: {}{}{}", how, reason.empty() ? "" : ": ", reason));
    using enum report::GuideEnd;
    if (end == died || end == diverged || end == memory_limit)
        progress_.warning(
            fmt::format("the guide ended ({}): {}; continuing without it", how, reason));
}

// ---- the end

Result<void> Migration::finish() {
    end_guide(report::GuideEnd::complete, "");
    progress_.update(
        {"finishing", data_->pages(), data_->bytes().total, std::nullopt, std::nullopt});
    // If a connection is missing, the destination cannot be told that this is the end.
    (void)channels_->await_complete(farewell_timeout);
    data_->stop();
    report_.total_ms = in_ms(Clock::now() - begun_);
    // Everything has arrived: a source QEMU that cannot end its migration is not a failure.
    if (source_lost_)
        data_->close_source();
    else if (auto ended = options_.kill_source ? kill_source() : end_source(); !ended)
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
    if (!measure_ || control_lost_)
        return;
    progress_.milestone("measuring", "waiting for the destination's measurement");
    if (auto taken = take_measurement(*control_, *signals_, *data_->ledger(), *measure_))
        report_.measured = *taken;
    else
        progress_.warning(fmt::format("the VM is at the destination, but could not be measured: {}",
                                      taken.error().message));
}

Result<void> Migration::end_source() {
    Result<void> ended;
    source_->send_rest();
    if (!converged_)
        ended = data_->drain_source(end_source_timeout);
    if (ended)
        ended = await_completed(source_->qmp(), end_source_timeout);
    data_->close_source();
    return ended;
}

Result<void> Migration::kill_source() {
    Result<void> ended = source_->kill();
    data_->close_source();
    return ended;
}

Result<void> Migration::resume_source() {
    if (phase_ >= Phase::switched_over) {
        // The source completes its migration when it has sent all of its memory. The VM stands
        // still meanwhile: if that takes long, run_on() has a faster way.
        source_->send_rest();
        (void)data_->drain_source(max_drain);
    }
    if (data_)
        data_->close_source();
    return run_on(source_->qmp(), source_->was_running(), run_on_timeout);
}

Error Migration::roll_back(Error error) {
    // The guide shares the source's memory: it must be gone before the VM writes to it again.
    end_guide(report::GuideEnd::off, "the migration ended before it was needed");
    const bool touched = phase_ >= Phase::precopy;
    if (control_ && (touched || guardian_))
        (void)control_->send(peer::Abandon{error.message});
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
    const Result<void> running = resume_source();
    if (guardian_)
        guardian_->dismiss();
    if (!running && source_->ends(2s)) {
        state::finish(journal_);
        await_refused();
        return {ErrorKind::needs_operator,
                fmt::format("the source QEMU (process {}) ended during the migration, and its VM "
                            "with it, which did not run at the destination; start it again",
                            source_->pid())};
    }
    if (!running) {
        error.kind = ErrorKind::needs_operator;
        error.message += fmt::format("; and the VM could not be resumed at the source: {}; run "
                                     "'gcctl take-back --qmp {}'",
                                     running.error().message, options_.qmp);
        return error;
    }
    state::finish(journal_);
    qmp::restore(source_->qmp(), source_->settings_before());
    if (phase_ >= Phase::switched_over)
        qmp::announce(source_->qmp());
    await_refused();
    if (error.kind != ErrorKind::cancelled)
        error.kind = ErrorKind::io;
    return error;
}

/// Lets the destination end its QEMU before this gcctl ends.
void Migration::await_refused() {
    for (const Deadline deadline(abandon_timeout); control_;) {
        const auto message = control_->receive(deadline);
        if (!message || !*message || std::holds_alternative<peer::Refused>(**message))
            return;
    }
}

Error Migration::give_up(Error error) {
    end_guide(report::GuideEnd::off, "the migration failed");
    if (data_)
        data_->stop();
    error.kind = ErrorKind::needs_operator;
    // Its memory may be unreadable a moment before its monitor is closed.
    if (source_lost_ || !source_->qmp().next_event(200ms)) {
        error.message += "; the VM was handed over, and the memory that it lacks at the "
                         "destination was lost with the source QEMU";
        return error;
    }
    error.message +=
        "; the VM was handed over and may run at the destination, so it stays stopped here. "
        "Pages that are missing there exist only in the source QEMU's memory: do not end it; run "
        "'gcctl status' at both ends to see what to do";
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
    }
    if (channels_) {
        const peer::Losses losses = channels_->losses();
        report_.connection_losses = losses.count;
        report_.disconnected_ms = in_ms(losses.time);
    }
    if (report_.total_ms == 0 && begun_ != Clock::time_point{})
        report_.total_ms = in_ms(Clock::now() - begun_);
}

void Migration::show_progress() {
    constexpr std::array<std::string_view, 5> names{"preparing", "pre-copy", "switch-over",
                                                    "post-copy", "post-copy"};
    std::optional<MirrorCounts> mirrored;
    if (mirror_) {
        const mirror::InjectorCounts now = mirror_->counts();
        mirrored = {now.follower.packets, dropped(now), now.follower.in_step, now.follower.dead};
    }
    progress_.update({names[static_cast<std::size_t>(phase_)], data_->pages(), data_->bytes().total,
                      channels_->outage(), mirrored});
}

}  // namespace gc::migrate

// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/qmp_source.h"

#include "migrate/release.h"
#include "qmp/event.h"
#include "util/page.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

/// A killed QEMU is gone only when the kernel has freed all of its memory.
constexpr auto kill_timeout = 60s;
/// For reading the rest of the memory from the source QEMU: a few seconds for each 8 GiB.
constexpr auto complete_timeout = 600s;
/// The same in a roll-back.
constexpr auto max_drain = 500ms;
constexpr auto run_on_timeout = 30s;

/// Capabilities that change the stream into something that gcctl does not support.
constexpr std::array<std::string_view, 13> refused_capabilities{
    "multifd",    "compress",    "xbzrle",        "zero-copy-send",      "rdma-pin-all",
    "block",      "x-colo",      "dirty-bitmaps", "background-snapshot", "x-ignore-shared",
    "mapped-ram", "dirty-limit", "release-ram",
};

/// Set for the migration. The preempt channel exists only between gcctl and the destination, and
/// switch-over must wait for nobody but gcctl.
const qmp::Capabilities wanted_capabilities{
    {"postcopy-ram", true},      {"events", true},
    {"postcopy-preempt", false}, {"pause-before-switchover", false},
    {"return-path", false},
};

/// Bytes per second: no limit.
constexpr std::int64_t unlimited = std::int64_t{1} << 40;

/// QEMU's own pacing is off in pre-copy, because the relay reads only what it can send. In
/// post-copy QEMU sends nothing but what is requested, so that its migration does not end before
/// the VM has all of its memory. Its limit for the convergence of pre-copy is low, because gcctl
/// decides when to switch over.
const qmp::NumberParameters wanted_parameters{
    {"max-bandwidth", unlimited},
    {"max-postcopy-bandwidth", qmp::only_requested},
    {"downtime-limit", 1},
};

}  // namespace

Result<std::unique_ptr<QmpSource>> QmpSource::open(const std::string& qmp_path, bool to_be_killed) {
    GC_TRY(qmp::Client qmp, qmp::Client::connect(qmp_path));
    GC_TRY(const pid_t pid, qmp.peer_pid());
    auto source = std::unique_ptr<QmpSource>(new QmpSource(std::move(qmp), pid, qmp_path));
    if (to_be_killed) {
        GC_TRY(source->process_, qmp::QemuProcess::open(source->qmp()));
        if (!source->process_)
            return fail(ErrorKind::unsupported,
                        "--kill-source expects a QEMU at {}, but process {}, which listens there, "
                        "is not a QEMU; migrate without --kill-source",
                        qmp_path, pid);
    }
    GC_CHECK(source->check());
    GC_CHECK(source->check_capabilities());
    return source;
}

Result<bool> QmpSource::stopped_for_migration() {
    GC_TRY(const qmp::RunState state, qmp::query_status(qmp()));
    if (state.status == "finish-migrate" || state.status == "postmigrate")
        return true;
    set_was_running(state.running);
    return false;
}

Result<void> QmpSource::check_capabilities() {
    GC_TRY(const qmp::Capabilities capabilities, qmp::query_capabilities(qmp()));
    if (!capabilities.contains("postcopy-ram"))
        return fail(ErrorKind::unsupported, "the source QEMU was built without post-copy");
    for (const std::string_view name : refused_capabilities)
        if (qmp::is_on(capabilities, name))
            return fail(
                ErrorKind::unsupported,
                "the source QEMU has the migration capability {0} on, which guidecopy does not "
                "support; turn it off: migrate_set_capability {0} off",
                name);
    GC_TRY(const qmp::Parameters parameters, qmp::query_parameters(qmp()));
    if (!parameters.tls_creds.empty())
        return fail(
            ErrorKind::unsupported,
            "the source QEMU has the migration parameter tls-creds set, but gcctl reads its stream "
            "on this host without TLS; set tls-creds to the empty string");
    if (!parameters.mode.empty() && parameters.mode != "normal")
        return fail(ErrorKind::unsupported,
                    "expected the source QEMU's migration parameter mode to be normal, found {}, "
                    "with which the VM does not leave this host; set it: migrate_set_parameter "
                    "mode normal",
                    parameters.mode);
    for (const auto& [name, on] : wanted_capabilities)
        if (const auto found = capabilities.find(name);
            found != capabilities.end() && found->second != on)
            before_.capabilities[name] = found->second;
    for (const auto& [name, value] : wanted_parameters) {
        const auto found = parameters.numbers.find(name);
        before_.parameters[name] = found == parameters.numbers.end() ? value : found->second;
    }
    return {};
}

Result<UniqueFd> QmpSource::start(Pace pace) {
    qmp::Capabilities set;
    for (const auto& [name, was_on] : before_.capabilities)
        set[name] = !was_on;
    GC_CHECK(qmp::set_capabilities(qmp(), set));
    GC_CHECK(qmp::set_parameters(qmp(), wanted_parameters));
    if (pace == Pace::held)
        GC_CHECK(hold());
    return qmp::migrate_to_socket(qmp());
}

Result<bool> QmpSource::switch_over(transfer::DataPlane& data) {
    GC_CHECK(data.free_source());
    // Pre-copy may have converged just now.
    GC_TRY(const bool stopped, stopped_for_migration());
    if (!stopped && was_running())
        GC_CHECK(qmp::stop(qmp()));
    GC_CHECK(qmp::migrate_start_postcopy(qmp()));
    if (has_huge_pages())
        GC_CHECK(end_huge_page());
    else
        GC_CHECK(data.wake_source());
    return true;
}

Result<void> QmpSource::hold() {
    // A page for each window. The device state is not limited (postcopy_start() in
    // migration/migration.c, 7.2).
    return qmp::set_parameters(
        qmp(), {{"max-bandwidth", qmp::windows_per_s * static_cast<std::int64_t>(page_size)}});
}

std::uint64_t QmpSource::max_in_flight() const {
    // What it sends in a window is acknowledged a window later. Headers come along.
    return 4 * page_size;
}

bool QmpSource::has_huge_pages() const {
    return std::ranges::any_of(guest_ram(),
                               [](const auto& block) { return block.page_size > page_size; });
}

Result<void> QmpSource::end_huge_page() {
    // QEMU switches over between two calls of ram_save_iterate() (migration/ram.c, 7.2 to 11.1).
    // Within a huge page it waits for the next window itself, so that the call's loop never finds a
    // window full. It ends after its first page if that took more than 50 ms, else after 64. While
    // QEMU is held each page takes longer than that. A request would be one page more.
    return qmp::set_parameters(qmp(), {{"max-bandwidth", unlimited}});
}

Result<PrecopyProgress> QmpSource::precopy_progress() {
    GC_TRY(const qmp::MigrationStatus status, qmp::query_migrate(qmp()));
    return PrecopyProgress{status.dirty_sync_count, status.remaining_bytes};
}

Result<void> QmpSource::kill() const {
    GC_TRY(const bool ended, process_->kill(kill_timeout));
    return ended ? Result<void>{}
                 : fail(ErrorKind::io, "the source QEMU (process {}) did not end after SIGKILL",
                        pid());
}

// ---- news

namespace {

SourceNews news_of(const qmp::Event& event, SourceNews::What what) {
    return {what, event.arrived, {}, event.emitted};
}

}  // namespace

Result<std::optional<SourceNews>> QmpSource::next_news(std::chrono::milliseconds timeout) {
    using enum SourceNews::What;
    for (;;) {
        GC_TRY(const auto event, qmp().next_event(timeout));
        if (!event)
            return std::nullopt;
        if (event->name == "STOP")
            return news_of(*event, stopped);
        if (event->name == "RESUME")
            return news_of(*event, resumed);
        const std::string status =
            event->name == "MIGRATION" ? event->data.value("status", "") : std::string();
        if (status == "postcopy-active")
            return news_of(*event, frozen);
        if (status == "failed" || status == "cancelled")
            return news_of(*event, status == "failed" ? failed : cancelled);
    }
}

bool QmpSource::has_news() const {
    return qmp().has_event();
}

int QmpSource::fd() const {
    return qmp().fd();
}

// ---- the end

Result<void> QmpSource::finish(transfer::DataPlane& data, bool converged) {
    Result<void> ended = process_ ? kill() : complete(data, converged);
    data.close_source();
    return ended;
}

Result<void> QmpSource::complete(transfer::DataPlane& data, bool converged) {
    qmp::send_rest(qmp());
    if (!converged)
        GC_CHECK(data.drain_source(complete_timeout));
    return await_completed(qmp(), complete_timeout);
}

Result<void> QmpSource::take_back(transfer::DataPlane* data, bool switched_over) {
    if (switched_over) {
        // The source completes its migration when it has sent all of its memory. The VM stands
        // still meanwhile: if that takes long, run_on() has a faster way.
        qmp::send_rest(qmp());
        (void)data->drain_source(max_drain);
    }
    if (data != nullptr)
        data->close_source();
    GC_CHECK(run_on(qmp(), was_running(), run_on_timeout));
    qmp::restore(qmp(), before_);
    if (switched_over)
        qmp::announce(qmp());
    return {};
}

std::string QmpSource::how_to_take_back(bool /*switched_over*/) const {
    return fmt::format("run 'gcctl take-back --qmp {}'", path_);
}

std::string QmpSource::how_to_continue() {
    // Its memory may be unreadable a moment before its monitor is closed.
    if (!qmp().next_event(200ms))
        return "the VM was handed over, and the memory that it lacks at the destination was lost "
               "with the source QEMU";
    return "the VM was handed over and may run at the destination, so it stays stopped here. "
           "Pages that are missing there exist only in the source QEMU's memory: do not end it; "
           "run 'gcctl status' at both ends to see what to do";
}

}  // namespace gc::migrate

// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/source_qemu.h"

#include "migrate/guest_memory.h"
#include "util/page.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <numeric>
#include <thread>

namespace gc::migrate {
namespace {

using namespace std::chrono_literals;

/// A killed QEMU is gone only when the kernel has freed all of its memory.
constexpr auto kill_timeout = 60s;

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

/// QEMU's own pacing is off in pre-copy, because the relay reads only what it can send. In
/// post-copy QEMU sends nothing but what is requested, so that its migration does not end before
/// the VM has all of its memory. Its limit for the convergence of pre-copy is low, because gcctl
/// decides when to switch over.
const qmp::NumberParameters wanted_parameters{
    {"max-bandwidth", std::int64_t{1} << 40},
    {"max-postcopy-bandwidth", qmp::only_requested},
    {"downtime-limit", 1},
};

}  // namespace

Result<SourceQemu> SourceQemu::open(const std::string& qmp_path, bool to_be_killed) {
    GC_TRY(qmp::Client qmp, qmp::Client::connect(qmp_path));
    if (!qmp.version().at_least(7, 2))
        return fail(ErrorKind::unsupported, "the source QEMU is {}; expected 7.2 or later",
                    qmp.version().text());
    GC_TRY(const pid_t pid, qmp.peer_pid());
    SourceQemu source(std::move(qmp), pid);
    GC_TRY(source.identity_, state::Process::of(pid));
    if (to_be_killed) {
        GC_TRY(source.process_, qmp::QemuProcess::open(source.qmp_));
        if (!source.process_)
            return fail(ErrorKind::unsupported,
                        "--kill-source expects a QEMU at {}, but process {}, which listens there, "
                        "is not a QEMU; migrate without --kill-source",
                        qmp_path, pid);
    }
    GC_CHECK(source.check_state());
    GC_CHECK(source.check_capabilities());
    GC_CHECK(source.check_memory());
    return source;
}

Result<void> SourceQemu::check_state() {
    GC_TRY(const qmp::RunState state, qmp::query_status(qmp_));
    if (!state.running && state.status != "paused")
        return fail(ErrorKind::unsupported,
                    "expected a VM that is running or paused, the source QEMU's is '{}'{}",
                    state.status,
                    state.status == "postmigrate" ? "; it has already been migrated" : "");
    was_running_ = state.running;
    GC_TRY(const qmp::MigrationStatus migration, qmp::query_migrate(qmp_));
    if (!migration.idle())
        return fail(
            ErrorKind::unsupported,
            "the source QEMU is already migrating ('{}'); wait for that migration or cancel it "
            "with migrate_cancel",
            migration.status);
    if (!migration.blockers.empty())
        return fail(ErrorKind::unsupported, "the source QEMU cannot migrate this VM: {}; unplug it",
                    fmt::join(migration.blockers, "; "));
    return {};
}

Result<bool> SourceQemu::stopped_for_migration() {
    GC_TRY(const qmp::RunState state, qmp::query_status(qmp_));
    if (state.status == "finish-migrate" || state.status == "postmigrate")
        return true;
    was_running_ = state.running;
    return false;
}

Result<void> SourceQemu::check_capabilities() {
    GC_TRY(const qmp::Capabilities capabilities, qmp::query_capabilities(qmp_));
    if (!capabilities.contains("postcopy-ram"))
        return fail(ErrorKind::unsupported, "the source QEMU was built without post-copy");
    for (const std::string_view name : refused_capabilities) {
        const auto found = capabilities.find(name);
        if (found != capabilities.end() && found->second)
            return fail(
                ErrorKind::unsupported,
                "the source QEMU has the migration capability {0} on, which guidecopy does not "
                "support; turn it off: migrate_set_capability {0} off",
                name);
    }
    GC_TRY(const qmp::Parameters parameters, qmp::query_parameters(qmp_));
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

Result<void> SourceQemu::check_memory() {
    GC_TRY(const auto devices, qmp::virtio_mem_devices(qmp_));
    if (!devices.empty())
        return fail(ErrorKind::unsupported,
                    "the VM has virtio-mem (memory backend {}), of which QEMU sends only the parts "
                    "that are plugged in: guidecopy would wait for the others; unplug the device, "
                    "or use QEMU's own migration",
                    fmt::join(devices, ", "));
    GC_TRY(guest_ram_, migrate::guest_ram(qmp_, pid_));
    return {};
}

std::uint64_t SourceQemu::memory_bytes() const {
    return std::accumulate(
        guest_ram_.begin(), guest_ram_.end(), std::uint64_t{0},
        [](std::uint64_t sum, const qmp::RamBlock& block) { return sum + block.length; });
}

Result<std::vector<image::ImageBlock>> SourceQemu::open_image() const {
    return migrate::open_image(guest_ram_, pid_);
}

Result<UniqueFd> SourceQemu::start(Pace pace) {
    qmp::Capabilities set;
    for (const auto& [name, was_on] : before_.capabilities)
        set[name] = !was_on;
    GC_CHECK(qmp::set_capabilities(qmp_, set));
    GC_CHECK(qmp::set_parameters(qmp_, wanted_parameters));
    if (pace == Pace::held)
        GC_CHECK(hold());
    return qmp::migrate_to_socket(qmp_);
}

Result<void> SourceQemu::switch_over() {
    // Pre-copy may have converged just now.
    GC_TRY(const bool stopped, stopped_for_migration());
    if (!stopped && was_running_)
        GC_CHECK(qmp::stop(qmp_));
    return qmp::migrate_start_postcopy(qmp_);
}

void SourceQemu::send_rest() {
    qmp::send_rest(qmp_);
}

Result<void> SourceQemu::hold() {
    // One page for each window. QEMU does not switch over within a host page, which must not take
    // many windows: the VM stands still by then. The device state is not limited (postcopy_start()
    // in migration/migration.c, 7.2).
    std::uint64_t largest = page_size;
    for (const qmp::RamBlock& block : guest_ram_)
        largest = std::max(largest, block.page_size);
    return qmp::set_parameters(
        qmp_, {{"max-bandwidth", qmp::windows_per_s * static_cast<std::int64_t>(largest)}});
}

Result<unsigned> SourceQemu::precopy_rounds() {
    GC_TRY(const qmp::MigrationStatus status, qmp::query_migrate(qmp_));
    return status.dirty_sync_count;
}

Result<void> SourceQemu::kill() const {
    GC_TRY(const bool ended, process_->kill(kill_timeout));
    return ended ? Result<void>{}
                 : fail(ErrorKind::io, "the source QEMU (process {}) did not end after SIGKILL",
                        pid_);
}

bool SourceQemu::ends(Deadline deadline) const {
    while (identity_.alive()) {
        if (deadline.expired())
            return false;
        std::this_thread::sleep_for(5ms);
    }
    return true;
}

}  // namespace gc::migrate

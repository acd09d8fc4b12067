// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/source_qemu.h"

#include "migrate/guest_memory.h"
#include "qmp/migration.h"

#include <fmt/format.h>
#include <numeric>
#include <thread>

namespace gc::migrate {

using namespace std::chrono_literals;

Result<void> SourceQemu::check() {
    if (!qmp_.version().at_least(7, 2))
        return fail(ErrorKind::unsupported, "the source QEMU is {}; expected 7.2 or later",
                    qmp_.version().text());
    GC_TRY(identity_, state::Process::of(pid_));
    GC_CHECK(check_state());
    return check_memory();
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

bool SourceQemu::ends(Deadline deadline) const {
    while (identity_.alive()) {
        if (deadline.expired())
            return false;
        std::this_thread::sleep_for(5ms);
    }
    return true;
}

}  // namespace gc::migrate

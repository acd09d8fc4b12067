// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/look.h"

#include "qmp/migration.h"
#include "qmp/qemu_process.h"

namespace gc::recover {
namespace {

using namespace std::chrono_literals;

/// QEMU's main loop may wait for a page.
constexpr auto look_timeout = 1s;

Result<void> ask(const state::Record& record, Seen& seen) {
    GC_TRY(qmp::Client qmp, qmp::Client::connect(record.qmp, look_timeout));
    GC_TRY(const pid_t pid, qmp.peer_pid());
    if (pid != record.qemu.pid)
        return fail(ErrorKind::io, "process {} listens there", pid);
    GC_TRY(const qmp::RunState state, qmp::query_status(qmp));
    GC_TRY(const qmp::MigrationStatus migration, qmp::query_migrate(qmp));
    seen.run_state = state.status;
    seen.migration = migration.status;
    return {};
}

}  // namespace

Seen look_at(const state::Record& record) {
    Seen seen{.gcctl_alive = record.gcctl.alive(),
              .qemu_alive = record.qemu.alive(),
              .is_qemu = qmp::is_qemu(record.qemu.pid),
              .run_state = {},
              .migration = {},
              .problem = {}};
    // Of a VM of libvirt's there is no monitor to ask.
    if (seen.gcctl_alive || !seen.qemu_alive || record.qmp.empty())
        return seen;
    if (const auto asked = ask(record, seen); !asked)
        seen.problem = asked.error().message;
    return seen;
}

}  // namespace gc::recover

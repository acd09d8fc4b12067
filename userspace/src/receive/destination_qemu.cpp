// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/destination_qemu.h"

#include "qmp/migration.h"
#include "util/print.h"

#include <nlohmann/json.hpp>

namespace gc::receive {
namespace {

using namespace std::chrono_literals;

constexpr auto error_timeout = 500ms;
constexpr auto probe_timeout = 50ms;
// QEMU's main loop may itself be waiting for a page in flight.
constexpr auto resume_timeout = 120s;
constexpr auto end_timeout = 2s;
/// A QEMU that has loaded a package may wait for the stream in its main loop, and then answers
/// nothing. Its VM has never run, so nothing is lost if it is killed.
constexpr auto quit_timeout = 500ms;

}  // namespace

Result<DestinationQemu> DestinationQemu::prepare(const std::string& qmp_path) {
    GC_TRY(qmp::Client qmp, qmp::Client::connect(qmp_path));
    GC_TRY(const qmp::RunState state, qmp::query_status(qmp));
    if (state.status != "inmigrate")
        return fail(ErrorKind::unsupported,
                    "expected a destination QEMU that is waiting for a migration, this one is "
                    "'{}'; start it with -incoming defer",
                    state.status);
    GC_TRY(const qmp::Capabilities known, qmp::query_capabilities(qmp));
    const bool preempt = known.contains("postcopy-preempt");
    qmp::Capabilities wanted{{"postcopy-ram", true}, {"events", true}};
    if (preempt)
        wanted["postcopy-preempt"] = true;
    if (auto set = qmp::set_capabilities(qmp, wanted); !set)
        return fail(
            ErrorKind::unsupported,
            "the destination QEMU refuses post-copy: {}; it needs userfaultfd: run it as root, "
            "or set sysctl vm.unprivileged_userfaultfd=1 (see 'gcctl doctor')",
            set.error().message);
    // In RUN_STATE_INMIGRATE this only clears QEMU's autostart (qmp_stop in softmmu/cpus.c, 7.2).
    GC_CHECK(qmp::stop(qmp));
    GC_TRY(auto process, qmp::QemuProcess::open(qmp));
    return DestinationQemu(std::move(qmp), std::move(process), preempt);
}

Result<void> DestinationQemu::listen() {
    GC_TRY(const pid_t pid, qmp_.peer_pid());
    GC_TRY(PrivateDirectory directory, PrivateDirectory::make(pid));
    directory_.emplace(std::move(directory));
    // 9.1 to 10.1 know exit-on-error, too, but destroy what the thread that receives post-copy uses
    // when the device state is refused (process_incoming_migration_co() in migration/migration.c).
    return qmp::migrate_incoming(qmp_, fmt::format("unix:{}/incoming", directory_->path()),
                                 qmp_.version().at_least(10, 2) ? qmp::OnError::stay
                                                                : qmp::OnError::exit);
}

std::string DestinationQemu::error() {
    const auto status = qmp::query_migrate(qmp_, error_timeout);
    return status ? status->error : std::string();
}

bool DestinationQemu::hangs() {
    const auto status = qmp::query_migrate(qmp_, probe_timeout);
    return status && status->status == "postcopy-device";
}

Result<UniqueFd> DestinationQemu::connect() const {
    return directory_->connect("incoming", 5s, process_.has_value());
}

Result<void> DestinationQemu::resume() {
    if (auto done = qmp_.execute("cont", nullptr, resume_timeout); !done)
        return wrap(done.error(), "start the VM at the destination");
    return {};
}

Result<void> DestinationQemu::end() {
    const auto quit = qmp_.execute("quit", nullptr, process_ ? quit_timeout : end_timeout);
    if (!process_)
        return quit ? Result<void>{} : Unexpected(quit.error());
    bool ended = false;
    if (quit) {
        GC_TRY(ended, process_->ends(end_timeout));
    }
    if (!ended) {
        GC_TRY(ended, process_->kill(end_timeout));
    }
    return ended ? Result<void>{} : fail(ErrorKind::io, "cannot end the destination QEMU; kill it");
}

int DestinationQemu::end_orphan(const std::string& qmp_path) const {
    auto qmp = qmp::Client::connect(qmp_path, end_timeout);
    bool ended = qmp && qmp->execute("quit", nullptr, process_ ? quit_timeout : end_timeout);
    if (process_)
        ended = (ended && process_->ends(end_timeout).value_or(false)) ||
                process_->kill(end_timeout).value_or(false);
    if (!ended)
        print_best_effort(stderr, "gcctl was killed before the VM was taken over, and the "
                                  "destination QEMU could not be ended: kill it\n");
    return ended ? 0 : 1;
}

std::span<const int> DestinationQemu::process_fd() const {
    return process_ ? std::span(&process_->fd(), 1) : std::span<const int>{};
}

}  // namespace gc::receive

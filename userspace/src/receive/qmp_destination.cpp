// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/qmp_destination.h"

#include "qmp/event.h"
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

Result<std::unique_ptr<QmpDestination>> QmpDestination::prepare(const std::string& qmp_path) {
    GC_TRY(qmp::Client qmp, qmp::Client::connect(qmp_path));
    GC_TRY(const qmp::RunState state, qmp::query_status(qmp));
    if (state.status != "inmigrate")
        return fail(ErrorKind::unsupported,
                    "expected a destination QEMU that is waiting for a migration, this one is "
                    "'{}'; start it with -incoming defer",
                    state.status);
    GC_TRY(const qmp::Capabilities known, qmp::query_capabilities(qmp));
    for (const auto& [name, on] : known)
        if (on && qmp::changes_reading(name))
            return fail(ErrorKind::unsupported,
                        "the destination QEMU has the migration capability {0} on, which guidecopy "
                        "does not support; turn it off: migrate_set_capability {0} off",
                        name);
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
    // 10.1 and later measure with it what gcctl cannot see. The kernel may lack what it needs.
    if (qmp.version().at_least(10, 1) && known.contains("postcopy-blocktime"))
        (void)qmp::set_capabilities(qmp, {{"postcopy-blocktime", true}});
    // In RUN_STATE_INMIGRATE this only clears QEMU's autostart (qmp_stop in softmmu/cpus.c, 7.2).
    GC_CHECK(qmp::stop(qmp));
    GC_TRY(auto process, qmp::QemuProcess::open(qmp));
    return std::unique_ptr<QmpDestination>(
        new QmpDestination(qmp_path, std::move(qmp), std::move(process), preempt));
}

Result<void> QmpDestination::listen() {
    GC_TRY(const pid_t pid, qmp_.peer_pid());
    GC_TRY(PrivateDirectory directory, PrivateDirectory::make(pid));
    directory_.emplace(std::move(directory));
    // 9.1 to 10.1 know exit-on-error, too, but destroy what the thread that receives post-copy uses
    // when the device state is refused (process_incoming_migration_co() in migration/migration.c).
    return qmp::migrate_incoming(qmp_, fmt::format("unix:{}/incoming", directory_->path()),
                                 qmp_.version().at_least(10, 2) ? qmp::OnError::stay
                                                                : qmp::OnError::exit);
}

std::string QmpDestination::error() {
    const auto status = qmp::query_migrate(qmp_, error_timeout);
    return status ? status->error : std::string();
}

std::optional<report::QemuPostcopyReport> QmpDestination::postcopy_figures() {
    if (!qmp_.version().at_least(10, 1))
        return std::nullopt;
    const auto reply = qmp_.execute("query-migrate", nullptr, error_timeout);
    if (!reply || !reply->is_object() || !reply->contains("postcopy-latency"))
        return std::nullopt;
    const auto number = [&](const char* name) {
        const auto found = reply->find(name);
        return found != reply->end() && found->is_number_unsigned() ? found->get<std::uint64_t>()
                                                                    : 0;
    };
    const auto numbers = [&](const char* name) {
        std::vector<std::uint64_t> values;
        if (const auto found = reply->find(name); found != reply->end() && found->is_array())
            for (const nlohmann::json& value : *found)
                values.push_back(value.is_number_unsigned() ? value.get<std::uint64_t>() : 0);
        return values;
    };
    return report::QemuPostcopyReport{.blocktime_ms = number("postcopy-blocktime"),
                                      .vcpu_blocktime_ms = numbers("postcopy-vcpu-blocktime"),
                                      .latency_ns = number("postcopy-latency"),
                                      .latency_dist = numbers("postcopy-latency-dist"),
                                      .vcpu_latency_ns = numbers("postcopy-vcpu-latency"),
                                      .non_vcpu_latency_ns = number("postcopy-non-vcpu-latency")};
}

bool QmpDestination::hangs() {
    const auto status = qmp::query_migrate(qmp_, probe_timeout);
    return status && status->status == "postcopy-device";
}

Result<UniqueFd> QmpDestination::connect() {
    return directory_->connect("incoming", 5s, process_.has_value());
}

Result<void> QmpDestination::resume() {
    if (auto done = qmp_.execute("cont", nullptr, resume_timeout); !done)
        return wrap(done.error(), "start the VM at the destination");
    return {};
}

Result<void> QmpDestination::end() {
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

Result<std::optional<Guardian>> QmpDestination::guard() {
    GC_TRY(Guardian guardian,
           Guardian::start([this](auto) { return end_orphan(); },
                           process_ ? std::span(&process_->fd(), 1) : std::span<const int>{}));
    return std::optional<Guardian>(std::move(guardian));
}

int QmpDestination::end_orphan() const {
    auto qmp = qmp::Client::connect(path_, end_timeout);
    bool ended = qmp && qmp->execute("quit", nullptr, process_ ? quit_timeout : end_timeout);
    if (process_)
        ended = (ended && process_->ends(end_timeout).value_or(false)) ||
                process_->kill(end_timeout).value_or(false);
    if (!ended)
        print_best_effort(stderr, "gcctl was killed before the VM was taken over, and the "
                                  "destination QEMU could not be ended: kill it\n");
    return ended ? 0 : 1;
}

Result<std::optional<DestinationNews>> QmpDestination::next_news() {
    for (;;) {
        GC_TRY(const auto event, qmp_.next_event(0ms));
        if (!event)
            return std::nullopt;
        if (event->name == "RESUME")
            return DestinationNews{DestinationNews::What::resumed, {}};
        if (event->name == "MIGRATION")
            return DestinationNews{DestinationNews::What::status, event->data.value("status", "")};
    }
}

std::string QmpDestination::how_to_continue() const {
    return "do not end the destination QEMU, and run 'gcctl status' at both ends to see what to do";
}

}  // namespace gc::receive

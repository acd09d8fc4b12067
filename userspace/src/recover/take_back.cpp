// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/take_back.h"

#include "libvirt/daemon.h"
#include "migrate/release.h"
#include "options/arguments.h"
#include "qmp/migration.h"
#include "recover/look.h"
#include "recover/resume_socket.h"
#include "state/store.h"

#include <nlohmann/json.hpp>

namespace gc::recover {
namespace {

using namespace std::chrono_literals;
namespace po = boost::program_options;
using state::Phase;
using state::Record;
using state::Role;

constexpr auto connect_timeout = 5s;
constexpr auto run_on_timeout = 30s;
constexpr auto forget_timeout = 5s;

struct TakeBackOptions {
    std::string qmp;
    std::string domain;
    std::string verdict;
    bool json = false;
};

options::Manual manual_of(TakeBackOptions& options) {
    options::Group group("Take back");
    group.add_options()("qmp", po::value(&options.qmp)->value_name("SOCKET"),
                        "QMP unix socket of the source QEMU")(
        "domain", po::value(&options.domain)->value_name("NAME"),
        "instead: the name or UUID of a VM of libvirt's, whose daemon must be stopped")(
        "verdict", po::value(&options.verdict)->value_name("never-ran:ID"),
        "what gcctl receive or gcctl status printed at the destination; not needed if the VM was "
        "not handed over, if gcctl migrate heard of it, or if the destination is this host")(
        "json", po::bool_switch(&options.json), "print events as JSON, one object a line");
    return {.name = "take-back",
            .synopsis = "--qmp SOCKET | --domain NAME [--verdict never-ran:ID]",
            .summary = "let a stopped VM run on at the source",
            .description =
                "Lets the VM of a source QEMU run on, which a migration left stopped and which "
                "never ran at the destination. Exit status 0 means that it runs.\n\n"
                "The destination decides whether a VM has run there. Without its verdict, and "
                "against it, gcctl refuses: a VM that runs twice destroys its disks. A VM that has "
                "run at the destination is finished there, with gcctl recover.\n\n"
                "libvirt resumes no VM whose post-copy migration has failed. Stop libvirt's daemon "
                "(its VMs run on), give the domain's name, and start the daemon again: it finds "
                "the VM running.",
            .operand = {},
            .groups = {group, options::general_options()},
            .subcommands = {}};
}

/// The destination's record, if that is on this host.
std::optional<Record> destination_of(const std::string& id) {
    for (Record& record : state::list().records)
        if (record.role == Role::destination && record.id == id)
            return std::move(record);
    return std::nullopt;
}

Result<void> need_verdict(const std::string& peer) {
    return fail(ErrorKind::unsupported,
                "the VM was handed over and may run at the destination; run 'gcctl status' on the "
                "host of {}, and only if it says that the VM never ran, give its verdict to "
                "--verdict; otherwise finish the migration: see 'gcctl status' here",
                peer);
}

/// Whether the source's record alone shows that the VM did not run at the destination.
bool proves(const Record& record) {
    if (record.phase == Phase::never_ran || record.phase == Phase::taking_back)
        return true;
    // libvirt may have let it run before gcctl wrote that.
    return record.domain.empty() && !record.may_have_run();
}

/// Whether the VM can have run at the destination.
Result<void> judge(const std::optional<Record>& record, const TakeBackOptions& options) {
    std::string id;
    if (!options.verdict.empty()) {
        GC_TRY(id, state::parse_verdict(options.verdict));
    }
    if (!record)
        return options.verdict.empty() ? need_verdict("the destination") : Result<void>{};
    if (record->gcctl.alive())
        return fail(ErrorKind::unsupported, "gcctl (process {}) is at work on this migration",
                    record->gcctl.pid);
    if (!id.empty() && id != record->id)
        return fail(ErrorKind::unsupported, "the verdict is of migration {}, but this QEMU's is {}",
                    id, record->id);
    if (record->phase == Phase::running)
        return fail(ErrorKind::unsupported,
                    "the VM was seen running at the destination: it cannot run here any more; see "
                    "'gcctl status'");
    if (const auto there = destination_of(record->id)) {
        if (there->may_have_run() || !(there->domain.empty() || there->phase == Phase::never_ran))
            return fail(ErrorKind::unsupported,
                        "the VM may have run at the destination, says its record on this host; see "
                        "'gcctl status'");
        if (there->phase != Phase::never_ran && there->qemu.alive())
            return fail(ErrorKind::unsupported,
                        "the destination QEMU (process {}) still holds the VM's state; end it "
                        "first",
                        there->qemu.pid);
        return {};
    }
    if (!proves(*record) && options.verdict.empty())
        return need_verdict(record->peer);
    return {};
}

void say(const TakeBackOptions& options, std::string_view text) {
    if (options.json)
        fmt::print("{}\n", nlohmann::json{{"event", "taken-back"}, {"text", text}}.dump());
    else
        fmt::print("{}\n", text);
}

/// What was done, and what is left of the migration on disk.
struct Taken {
    std::string text;
    std::optional<state::Journal> journal;
};

Result<Taken> take_back(qmp::Client& qmp, const TakeBackOptions& options,
                        const migrate::Resume& resume) {
    GC_TRY(const pid_t pid, qmp.peer_pid());
    GC_TRY(const state::Process process, state::Process::of(pid));
    auto record = state::find(Role::source, process, options.qmp);
    GC_TRY(const qmp::RunState before, qmp::query_status(qmp));
    GC_TRY(const qmp::MigrationStatus migration, qmp::query_migrate(qmp));
    if (before.running)
        return Taken{"the VM runs here; nothing was to be done", {}};
    if (migration.status == "none")
        return fail(ErrorKind::unsupported, "this QEMU's VM is '{}' and was not being migrated",
                    before.status);
    // Pre-copy that sent everything completes before the commit: then the record decides.
    if (migration.completed() && !record)
        return fail(ErrorKind::unsupported,
                    "this QEMU's migration is complete: the VM has moved to the destination");
    GC_CHECK(judge(record, options));

    // From here on the destination's end is over: a recovery must not begin.
    Taken taken{{}, {}};
    if (record) {
        record->phase = Phase::taking_back;
        if (auto begun = state::Journal::begin(*record))
            taken.journal.emplace(std::move(*begun));
    }
    const bool runs = !record || record->runs;
    if (auto done = migrate::run_on(qmp, runs, run_on_timeout, resume); !done)
        return fail(ErrorKind::needs_operator,
                    "the VM could not be resumed: {}; run the same command again",
                    done.error().message);
    GC_TRY(const qmp::RunState now, qmp::query_status(qmp));
    if (runs && !now.running)
        return fail(ErrorKind::needs_operator,
                    "the VM is '{}' instead of running; run the same command again", now.status);
    qmp::announce(qmp);
    if (record)
        qmp::restore(qmp, {record->capabilities, record->parameters});
    taken.text = runs ? "the VM runs here again" : "the VM is here again, paused as it was";
    return taken;
}

/// libvirt's daemon would end a QEMU whose migration is complete, and lock a domain with one that
/// is not.
Result<void> forget_migration(qmp::Client& qmp, bool completed,
                              const libvirt::DomainStatus& status) {
    if (completed)
        GC_CHECK(migrate::forget_completed(qmp, forget_timeout));
    return status.remove_migration();
}

/// @param socket lives as long as the stream
Result<UniqueFd> resume(qmp::Client& source, const std::string& domain,
                        std::optional<ResumeSocket>& socket) {
    GC_TRY(const qmp::Capabilities capabilities, qmp::query_capabilities(source));
    if (!qmp::is_on(capabilities, "postcopy-preempt"))
        return migrate::resume_to_descriptor(source);
    GC_TRY(const pid_t qemu, source.peer_pid());
    GC_TRY(ResumeSocket made, ResumeSocket::make(domain, qemu));
    return socket.emplace(std::move(made)).resume(source);
}

Result<Taken> take_back_domain(const TakeBackOptions& options) {
    GC_CHECK(libvirt::check_no_daemon());
    GC_TRY(const libvirt::DomainStatus status, libvirt::DomainStatus::find(options.domain));
    GC_TRY(qmp::Client qmp, qmp::Client::connect(status.monitor(), connect_timeout));
    std::optional<ResumeSocket> socket;
    GC_TRY(Taken taken, take_back(qmp, options, [&](qmp::Client& source) {
               return resume(source, status.name(), socket);
           }));
    GC_TRY(const qmp::MigrationStatus migration, qmp::query_migrate(qmp));
    if (!migration.idle())
        return taken;  // it runs, and its migration goes on
    if (const auto forgotten = forget_migration(qmp, migration.completed(), status); !forgotten)
        return fail(ErrorKind::needs_operator,
                    "{}, but libvirt's daemon would not know it: {}; run the same command again "
                    "before you start the daemon",
                    taken.text, forgotten.error().message);
    taken.text += "; start libvirt's daemon again: " + libvirt::start_daemon_line();
    return taken;
}

Result<Taken> take_back_qemu(const TakeBackOptions& options) {
    GC_TRY(qmp::Client qmp, qmp::Client::connect(options.qmp, connect_timeout));
    return take_back(qmp, options, migrate::resume_to_descriptor);
}

Result<void> take_back_vm(const TakeBackOptions& options) {
    if (options.qmp.empty() == options.domain.empty())
        return fail(ErrorKind::usage, "expected either --qmp or --domain");
    GC_TRY(Taken taken, options.qmp.empty() ? take_back_domain(options) : take_back_qemu(options));
    if (taken.journal)
        taken.journal->finish();
    say(options, taken.text);
    return {};
}

}  // namespace

options::Manual take_back_manual() {
    static TakeBackOptions options;
    return manual_of(options);
}

int take_back_command(std::span<const std::string> arguments) {
    return options::run("take-back", arguments, manual_of, take_back_vm);
}

}  // namespace gc::recover

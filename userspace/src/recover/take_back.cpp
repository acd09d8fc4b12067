// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/take_back.h"

#include "migrate/release.h"
#include "options/arguments.h"
#include "qmp/migration.h"
#include "recover/look.h"
#include "state/store.h"

#include <nlohmann/json.hpp>

namespace gc::recover {
namespace {

using namespace std::chrono_literals;
namespace po = boost::program_options;
using state::Phase;
using state::Record;
using state::Role;

constexpr auto run_on_timeout = 30s;

struct TakeBackOptions {
    std::string qmp;
    std::string verdict;
    bool json = false;
};

options::Manual manual_of(TakeBackOptions& options) {
    options::Group group("Take back");
    group.add_options()("qmp", po::value(&options.qmp)->required()->value_name("SOCKET"),
                        "QMP unix socket of the source QEMU")(
        "verdict", po::value(&options.verdict)->value_name("never-ran:ID"),
        "what gcctl receive or gcctl status printed at the destination; not needed if the VM was "
        "not handed over, or if the destination is this host")(
        "json", po::bool_switch(&options.json), "print events as JSON, one object a line");
    return {.name = "take-back",
            .synopsis = "--qmp SOCKET [--verdict never-ran:ID]",
            .summary = "let a stopped VM run on at the source",
            .description =
                "Lets the VM of a source QEMU run on, which a migration left stopped and which "
                "never ran at the destination. Exit status 0 means that it runs.\n\n"
                "The destination decides whether a VM has run there. Without its verdict, and "
                "against it, gcctl refuses: a VM that runs twice destroys its disks. A VM that has "
                "run at the destination is finished there, with gcctl recover.",
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
        if (there->may_have_run())
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
    if (record->phase == Phase::committed && options.verdict.empty())
        return need_verdict(record->peer);
    return {};
}

void say(const TakeBackOptions& options, std::string_view text) {
    if (options.json)
        fmt::print("{}\n", nlohmann::json{{"event", "taken-back"}, {"text", text}}.dump());
    else
        fmt::print("{}\n", text);
}

Result<void> take_back(const TakeBackOptions& options) {
    GC_TRY(qmp::Client qmp, qmp::Client::connect(options.qmp, 5s));
    GC_TRY(const pid_t pid, qmp.peer_pid());
    GC_TRY(const state::Process process, state::Process::of(pid));
    auto record = state::find(Role::source, process, options.qmp);
    GC_TRY(const qmp::RunState before, qmp::query_status(qmp));
    if (before.running) {
        say(options, "the VM runs here; nothing was to be done");
        return {};
    }
    GC_TRY(const qmp::MigrationStatus migration, qmp::query_migrate(qmp));
    if (migration.status == "none")
        return fail(ErrorKind::unsupported, "this QEMU's VM is '{}' and was not being migrated",
                    before.status);
    // Pre-copy that sent everything completes before the commit: then the record decides.
    if (migration.completed() && !record)
        return fail(ErrorKind::unsupported,
                    "this QEMU's migration is complete: the VM has moved to the destination");
    GC_CHECK(judge(record, options));

    // From here on the destination's end is over: a recovery must not begin.
    std::optional<state::Journal> journal;
    if (record) {
        record->phase = Phase::taking_back;
        if (auto begun = state::Journal::begin(*record))
            journal.emplace(std::move(*begun));
    }
    const bool runs = !record || record->runs;
    if (auto done = migrate::run_on(qmp, runs, run_on_timeout); !done)
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
    if (journal)
        journal->finish();
    say(options, runs ? "the VM runs here again" : "the VM is here again, paused as it was");
    return {};
}

}  // namespace

options::Manual take_back_manual() {
    static TakeBackOptions options;
    return manual_of(options);
}

int take_back_command(std::span<const std::string> arguments) {
    return options::run("take-back", arguments, manual_of, take_back);
}

}  // namespace gc::recover

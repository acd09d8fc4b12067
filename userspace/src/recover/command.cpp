// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/command.h"

#include "migrate/command.h"
#include "options/arguments.h"
#include "receive/command.h"
#include "receive/one_time_key.h"
#include "recover/destination.h"
#include "recover/source.h"
#include "state/store.h"

#include <algorithm>

namespace gc::recover {
namespace {

namespace po = boost::program_options;
using Arguments = std::span<const std::string>;

/// The options are those of `gcctl migrate` and `gcctl receive`: what was typed before can be typed
/// again. Those that have no meaning any more are accepted and ignored.
options::Manual role_manual(std::string name, std::string synopsis, std::string summary,
                            std::string description, std::vector<options::Group> groups) {
    return {.name = std::move(name),
            .synopsis = std::move(synopsis),
            .summary = std::move(summary),
            .description = std::move(description),
            .operand = {},
            .groups = std::move(groups),
            .subcommands = {}};
}

options::Manual migrate_manual() {
    return role_manual(
        "recover migrate", "--qmp SOCKET --to HOST:PORT [options of gcctl migrate]",
        "send the pages that are missing (run at the source)",
        "Connects to 'gcctl recover receive', again and again until it answers, and sends the "
        "pages that the destination QEMU lacks, first those that the VM waits for. Then it ends "
        "the source QEMU's migration. It takes all options of gcctl migrate. --qmp, --to, the TLS "
        "options, --insecure, --bandwidth, --kill-source, --json and --quiet have their meaning; "
        "the others are ignored.",
        migrate::manual().groups);
}

options::Manual receive_manual() {
    return role_manual(
        "recover receive", "--qmp SOCKET --listen HOST:PORT [options of gcctl receive]",
        "take the pages that are missing (run at the destination)",
        "Recovers the destination QEMU's side, says how many pages are missing, and waits for "
        "'gcctl recover migrate'. It takes all options of gcctl receive. --qmp, --listen, the TLS "
        "options, --insecure, --json and --quiet have their meaning; the others are ignored.",
        receive::manual().groups);
}

struct RecordOptions {
    std::string record;
};

options::Manual record_manual(RecordOptions& options) {
    options::Group group("Record");
    group.add_options()("record", po::value(&options.record)->required()->value_name("ID[.ROLE]"),
                        "the migration, as gcctl status names it");
    return {.name = "recover record",
            .synopsis = "ID[.ROLE]",
            .summary = "run one of the two, as the record on this host says",
            .description = "Types what gcctl status would: the command line of the gcctl that has "
                           "died. The unit guidecopy-recover@ID.service runs this.",
            .operand = "record",
            .groups = {group, options::general_options()},
            .subcommands = {}};
}

bool wants_help(Arguments arguments) {
    return std::ranges::any_of(
        arguments, [](const std::string& word) { return word == "--help" || word == "-h"; });
}

int migrate_command(Arguments arguments) {
    if (wants_help(arguments)) {
        fmt::print("{}", migrate_manual().help());
        return options::exit_done;
    }
    const auto given = migrate::parse(arguments);
    if (!given)
        return options::complain("recover migrate", given.error());
    const migrate::Options& from = **given;
    auto ssh = from.ssh;
    if (ssh)
        ssh->command = "recover receive";
    const Options options{.qmp = from.qmp,
                          .address = from.to,
                          .ssh = std::move(ssh),
                          .security = from.security,
                          .connect_timeout = from.connect_timeout,
                          .bandwidth = from.bandwidth,
                          .kill_source = from.kill_source,
                          .arguments = from.arguments,
                          .voice = {.json = from.output == migrate::Output::json,
                                    .quiet = from.output == migrate::Output::quiet}};
    const auto done = recover_source(options);
    return done ? options::exit_done : options::complain("recover migrate", done.error());
}

int receive_command(Arguments arguments) {
    if (wants_help(arguments)) {
        fmt::print("{}", receive_manual().help());
        return options::exit_done;
    }
    const auto given = receive::parse(arguments);
    if (!given)
        return options::complain("recover receive", given.error());
    const receive::Options& from = **given;
    auto security = receive::security_of(from);
    if (!security)
        return options::complain("recover receive", security.error());
    const Options options{.qmp = from.qmp,
                          .address = from.listen,
                          .ends_with_stdin = from.psk_stdin,
                          .listening = std::move(*security),
                          .arguments = from.arguments,
                          .voice = {.json = from.json, .quiet = from.quiet}};
    const auto done = recover_destination(options);
    return done ? options::exit_done : options::complain("recover receive", done.error());
}

Result<state::Record> record_named(const std::string& wanted) {
    std::vector<state::Record> found;
    for (state::Record& record : state::list().records)
        if (is_named(record, wanted))
            found.push_back(std::move(record));
    if (found.empty())
        return fail(ErrorKind::usage, "no migration '{}' (see gcctl status)", wanted);
    if (found.size() > 1)
        return fail(ErrorKind::usage,
                    "both ends of {0} are on this host: give {0}.source or "
                    "{0}.destination",
                    wanted);
    return std::move(found[0]);
}

int record_command(Arguments arguments) {
    RecordOptions options;
    const auto values = options::parse(record_manual(options), arguments);
    if (!values)
        return options::complain("recover record", values.error());
    if (!*values)
        return options::exit_done;
    const auto record = record_named(options.record);
    if (!record)
        return options::complain("recover record", record.error());
    return record->role == state::Role::source ? migrate_command(record->arguments)
                                               : receive_command(record->arguments);
}

std::vector<options::Subcommand> commands() {
    static RecordOptions options;
    return {{migrate_manual(), migrate_command},
            {receive_manual(), receive_command},
            {record_manual(options), record_command}};
}

}  // namespace

options::Manual manual() {
    return options::with(
        {.name = "recover",
         .synopsis = "migrate|receive|record [options]",
         .summary = "finish a migration whose gcctl has died",
         .description =
             "After the VM was handed over, its missing pages are in the source QEMU's frozen "
             "memory, and the VM waits at the destination. When gcctl migrate or gcctl receive has "
             "ended without finishing, run gcctl recover at both ends, in any order, with the "
             "options of the command that ended. gcctl status shows these command lines.\n\n"
             "Nothing that happens to the network or to gcctl recover is of consequence to the VM: "
             "run it again.",
         .operand = {},
         .groups = {},
         .subcommands = {}},
        commands());
}

int command(std::span<const std::string> arguments) {
    return options::run(manual(), commands(), arguments);
}

}  // namespace gc::recover

// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/status.h"

#include "options/arguments.h"
#include "recover/look.h"
#include "state/store.h"
#include "util/print.h"

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

namespace gc::recover {
namespace {

namespace po = boost::program_options;
using nlohmann::json;
using state::Record;

struct StatusOptions {
    bool json = false;
    std::string forget;
};

options::Manual manual_of(StatusOptions& options) {
    options::Group group("Status");
    group.add_options()("json", po::bool_switch(&options.json), "print an array of JSON objects")(
        "forget", po::value(&options.forget)->value_name("ID"),
        "remove the record of a migration that no gcctl works on, instead");
    return {.name = "status",
            .synopsis = "[--json | --forget ID]",
            .summary = "show the migrations of this host, live and stranded",
            .description =
                "Shows each migration that gcctl migrate or gcctl receive works on, and each that "
                "one of them left unfinished: what is here, what is missing, and which command to "
                "run.\n\n"
                "The records are in /run/guidecopy, or in $XDG_RUNTIME_DIR/guidecopy for a user "
                "who is not root. A migration that needs nothing more has none.",
            .operand = {},
            .groups = {group, options::general_options()},
            .subcommands = {}};
}

std::string time_text(std::int64_t seconds) {
    const std::time_t time = seconds;
    std::tm broken{};
    std::array<char, 32> text{};
    ::localtime_r(&time, &broken);
    return {text.data(), std::strftime(text.data(), text.size(), "%F %T", &broken)};
}

void print_text(const Record& record, const Seen& seen, const Advice& advice) {
    fmt::print("{}  {}  since {}\n", full_name(record), name(advice.standing),
               time_text(record.begun));
    fmt::print("  phase:  {} (since {})\n", name(record.phase), time_text(record.changed));
    fmt::print("  QEMU:   process {}, {}{}\n", record.qemu.pid,
               record.domain.empty() ? record.qmp : "libvirt's domain " + record.domain,
               !seen.qemu_alive ? ", ended"
               : seen.run_state ? fmt::format(", {}, migration {}", *seen.run_state,
                                              seen.migration.value_or("?"))
                                : "");
    fmt::print("  peer:   {}\n  {}\n", record.peer, advice.what);
    for (const std::string& line : advice.type)
        fmt::print("  type:   {}\n", line);
    if (!advice.there.empty())
        fmt::print("  {}\n", advice.there);
}

json to_json(const Record& record, const Seen& seen, const Advice& advice) {
    json object{{"id", record.id},
                {"role", name(record.role)},
                {"standing", name(advice.standing)},
                {"phase", name(record.phase)},
                {"begun", record.begun},
                {"changed", record.changed},
                {"peer", record.peer},
                {"gcctl", {{"pid", record.gcctl.pid}, {"alive", seen.gcctl_alive}}},
                {"qemu", {{"pid", record.qemu.pid}, {"alive", seen.qemu_alive}}},
                {"qmp", record.qmp},
                {"domain", record.domain},
                {"what", advice.what},
                {"type", advice.type}};
    if (seen.run_state)
        object["qemu"]["status"] = *seen.run_state;
    if (seen.migration)
        object["qemu"]["migration"] = *seen.migration;
    if (!advice.there.empty())
        object["there"] = advice.there;
    if (never_ran(record, seen))
        object["verdict"] = state::never_ran(record.id);
    return object;
}

Result<void> forget(const std::string& id) {
    bool found = false;
    for (const Record& record : state::list().records) {
        if (!is_named(record, id))
            continue;
        if (record.gcctl.alive())
            return fail(ErrorKind::unsupported, "gcctl (process {}) is at work on it",
                        record.gcctl.pid);
        state::forget(record);
        found = true;
    }
    return found ? Result<void>{}
                 : fail(ErrorKind::usage, "no migration '{}' (see gcctl status)", id);
}

Result<void> show(const StatusOptions& options) {
    if (!options.forget.empty())
        return forget(options.forget);
    const state::Listing listing = state::list();
    for (const std::string& problem : listing.problems)
        print_best_effort(stderr, "gcctl: warning: {}\n", problem);
    json all = json::array();
    for (const Record& record : listing.records) {
        const Seen seen = look_at(record);
        const Advice advice = advise(record, seen);
        if (options.json)
            all.push_back(to_json(record, seen, advice));
        else
            print_text(record, seen, advice);
    }
    if (options.json)
        fmt::print("{}\n", all.dump(2, ' ', false, json::error_handler_t::replace));
    else if (listing.records.empty())
        fmt::print("no migrations\n");
    return {};
}

}  // namespace

options::Manual status_manual() {
    static StatusOptions options;
    return manual_of(options);
}

int status_command(std::span<const std::string> arguments) {
    return options::run("status", arguments, manual_of, show);
}

}  // namespace gc::recover

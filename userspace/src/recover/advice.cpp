// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/advice.h"

#include "libvirt/daemon.h"
#include "util/text.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace gc::recover {
namespace {

using state::Phase;
using state::Record;
using state::Role;

std::string take_back_line(const Record& record, const std::string& verdict) {
    std::vector<std::string> words{"gcctl", "take-back", "--qmp", record.qmp};
    if (!verdict.empty())
        words.insert(words.end(), {"--verdict", verdict});
    return shell_line(words);
}

std::vector<std::string> quit_lines(const Record& record, const Seen& seen) {
    if (!seen.is_qemu)
        return {};
    return {fmt::format("kill {}", record.qemu.pid)};
}

Advice silent(const Record& record, const Seen& seen) {
    return {Standing::stranded,
            fmt::format("QEMU (process {}) does not answer on {}: {}", record.qemu.pid, record.qmp,
                        seen.problem),
            {},
            ""};
}

Advice source_advice(const Record& record, const Seen& seen) {
    if (!seen.qemu_alive && record.may_have_run())
        return {Standing::over,
                "the source QEMU has ended; the VM is whole at the destination only if 'gcctl "
                "receive' completed there",
                {},
                ""};
    if (!seen.qemu_alive)
        return {Standing::over, "the source QEMU has ended before the VM was handed over", {}, ""};
    if (!seen.run_state)
        return silent(record, seen);
    // gcctl has stopped the VM for the switch-over, unless it was paused before.
    if (*seen.run_state == "running" || (*seen.run_state == "paused" && !record.runs))
        return {Standing::over, fmt::format("the VM is here, {}", *seen.run_state), {}, ""};
    if (record.phase == Phase::taking_back)
        return {Standing::stranded,
                "gcctl take-back was begun and did not end",
                {take_back_line(record, state::never_ran(record.id))},
                ""};
    if (*seen.run_state == "postmigrate" && record.may_have_run())
        return {Standing::over, "the VM has moved: end this QEMU", quit_lines(record, seen), ""};
    if (!record.may_have_run())
        return {Standing::stranded,
                "the VM stands still here and was not handed over: it did not run at the "
                "destination",
                {take_back_line(record, "")},
                ""};
    return {Standing::stranded,
            "the VM was handed over, and its missing pages are only here: do not end this QEMU",
            {recover_line(record)},
            fmt::format("on that host, {}, run 'gcctl status'; only if it says that the "
                        "VM never ran, type here: {}",
                        record.peer, take_back_line(record, state::never_ran(record.id)))};
}

Advice never_ran_advice(const Record& record) {
    return {Standing::stranded,
            "the VM never ran here, and its destination QEMU has ended",
            {},
            "at the source, if its VM stands still: " + state::take_back_at_source(record)};
}

/// libvirt knows the rest, and may have been finished with it long ago.
Advice domain_advice(const Record& record, const Seen& seen) {
    if (never_ran(record, seen))
        return never_ran_advice(record);
    if (!seen.qemu_alive)
        return {Standing::over, "libvirt has ended this QEMU", {}, ""};
    if (record.phase == Phase::begun && record.role == Role::source)
        return {Standing::over, "libvirt keeps the VM here: it was not handed over", {}, ""};
    if (record.role == Role::source &&
        (record.phase == Phase::never_ran || record.phase == Phase::taking_back))
        return {Standing::stranded,
                "if the VM stands still here, libvirt cannot resume it; it did not run at the "
                "destination",
                libvirt::take_back_lines(record.domain), ""};
    const std::string what =
        fmt::format("libvirt owns the VM: only if 'virsh domstate --reason {}' says 'post-copy "
                    "failed', half of it is on each host; then destroy neither domain",
                    record.domain);
    if (record.role == Role::source)
        return {Standing::stranded,
                what + ", and type here",
                {record.finish},
                fmt::format(
                    "on that host, {}, run 'gcctl status'; only if it says that the VM "
                    "never ran, type here: {}",
                    record.peer,
                    fmt::join(libvirt::take_back_lines(record.domain, state::never_ran(record.id)),
                              "; "))};
    return {
        Standing::stranded, what, {}, "at the source, run 'gcctl status': it shows the command"};
}

Advice destination_advice(const Record& record, const Seen& seen) {
    if (never_ran(record, seen))
        return never_ran_advice(record);
    if (!record.may_have_run())
        return {Standing::stranded,
                "the VM was not handed over and has not run here, but this QEMU holds its state: "
                "end it",
                quit_lines(record, seen),
                "then run 'gcctl status' at the source: it shows the next command"};
    if (!seen.qemu_alive)
        return {Standing::stranded,
                "the destination QEMU has ended after the VM was handed over: what the VM did "
                "since is lost; the source QEMU has its memory as of the switch-over",
                {},
                ""};
    if (!seen.run_state)
        return silent(record, seen);
    if (record.phase == Phase::committed && record.runs && *seen.run_state == "paused")
        return {Standing::stranded,
                "the VM was handed over and not yet started: do not end this QEMU",
                {recover_line(record)},
                ""};
    if (seen.migration == "completed")
        return {Standing::over, fmt::format("the whole VM is here, {}", *seen.run_state), {}, ""};
    Advice advice{Standing::stranded,
                  fmt::format("the VM is here ({}), but pages are missing: do not end this QEMU",
                              *seen.run_state),
                  {recover_line(record)},
                  "at the source, run 'gcctl status': it shows the command"};
    // gcctl migrate had started it through ssh.
    if (std::ranges::find(record.arguments, std::string("--psk-stdin")) != record.arguments.end()) {
        advice.type.clear();
        advice.there = "at the source, run 'gcctl status': it shows the command, which starts "
                       "gcctl here, too";
    }
    return advice;
}

}  // namespace

std::string_view name(Standing standing) {
    constexpr std::array<std::string_view, 3> names{"live", "stranded", "over"};
    return names[static_cast<std::size_t>(standing)];
}

bool never_ran(const Record& record, const Seen& seen) {
    // What libvirt does, gcctl writes down later.
    const bool proves = record.domain.empty() && !record.may_have_run() && !seen.qemu_alive;
    return record.role == Role::destination && (record.phase == Phase::never_ran || proves);
}

Advice advise(const Record& record, const Seen& seen) {
    if (seen.gcctl_alive)
        return {
            Standing::live, fmt::format("gcctl (process {}) is at work", record.gcctl.pid), {}, ""};
    if (!record.domain.empty())
        return domain_advice(record, seen);
    return record.role == Role::source ? source_advice(record, seen)
                                       : destination_advice(record, seen);
}

std::string recover_line(const Record& record) {
    std::vector<std::string> words{"gcctl", "recover",
                                   record.role == Role::source ? "migrate" : "receive"};
    words.insert(words.end(), record.arguments.begin(), record.arguments.end());
    return shell_line(words);
}

}  // namespace gc::recover

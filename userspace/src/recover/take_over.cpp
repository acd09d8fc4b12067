// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/take_over.h"

namespace gc::recover {

Result<TakenOver> take_over(state::Role role, const state::Process& qemu, const Options& options,
                            std::string_view not_handed_over) {
    TakenOver taken{state::find(role, qemu, options.qmp), {}};
    if (!taken.record) {
        const auto other =
            role == state::Role::source ? state::Role::destination : state::Role::source;
        options.voice.warn(fmt::format("this host has no record of the migration, so that only RAM "
                                       "blocks and UUIDs show whether the {}'s VM is the same",
                                       name(other)));
        return taken;
    }
    state::Record record = *taken.record;
    if (record.gcctl != state::Process::self() && record.gcctl.alive())
        return fail(ErrorKind::unsupported,
                    "gcctl (process {}) is at work on this migration; end it first",
                    record.gcctl.pid);
    if (!record.may_have_run())
        return fail(ErrorKind::unsupported, "{}", not_handed_over);
    record.arguments = options.arguments;
    if (auto journal = state::Journal::begin(std::move(record)))
        taken.journal = std::move(*journal);
    return taken;
}

}  // namespace gc::recover

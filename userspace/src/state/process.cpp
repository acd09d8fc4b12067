// SPDX-License-Identifier: GPL-2.0-or-later
#include "state/process.h"

#include "util/whole_file.h"

#include <sstream>
#include <unistd.h>

namespace gc::state {
namespace {

struct Stat {
    char state = '?';
    std::uint64_t start = 0;
};

Result<Stat> stat_of(pid_t pid) {
    GC_TRY(const std::string text, read_whole_file(fmt::format("/proc/{}/stat", pid)));
    // The second field, the program's name in parentheses, may contain spaces and parentheses.
    std::istringstream fields(text.substr(std::min(text.rfind(')') + 1, text.size())));
    Stat stat;
    fields >> stat.state;
    std::string skipped;
    for (int field = 4; field < 22; ++field)
        fields >> skipped;
    fields >> stat.start;
    if (!fields)
        return fail(ErrorKind::protocol, "/proc/{}/stat: expected at least 22 fields", pid);
    return stat;
}

}  // namespace

Result<Process> Process::of(pid_t pid) {
    GC_TRY(const Stat stat, stat_of(pid));
    return Process{pid, stat.start};
}

Process Process::self() {
    return of(::getpid()).value_or(Process{::getpid(), 0});
}

bool Process::alive() const {
    const auto now = stat_of(pid);
    return now && now->start == start && now->state != 'Z' && now->state != 'X';
}

}  // namespace gc::state

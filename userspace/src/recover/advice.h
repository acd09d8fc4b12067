// SPDX-License-Identifier: GPL-2.0-or-later
// What a record and a look at its QEMU mean, and what the operator should type.
#pragma once

#include "state/record.h"

#include <optional>
#include <string>
#include <vector>

namespace gc::recover {

/// One end of a migration as it is now.
struct Seen {
    bool gcctl_alive = false;
    bool qemu_alive = false;
    bool is_qemu = true;  ///< false: a manager, such as libvirt, is behind the socket
    /// As QMP says; absent if QMP was not asked or did not answer.
    std::optional<std::string> run_state;
    std::optional<std::string> migration;
    std::string problem;  ///< why it did not answer
};

enum class Standing : std::uint8_t {
    live,      ///< a gcctl is at work
    stranded,  ///< something has to be done
    over,      ///< nothing has to be done
};
[[nodiscard]] std::string_view name(Standing standing);

struct Advice {
    Standing standing = Standing::stranded;
    std::string what;               ///< a sentence
    std::vector<std::string> type;  ///< commands for this host
    std::string there;              ///< what to do at the other host; may be empty
};
/// Whether this host is the destination, and the VM has not run here and never will.
[[nodiscard]] bool never_ran(const state::Record& record, const Seen& seen);
[[nodiscard]] Advice advise(const state::Record& record, const Seen& seen);

/// The command line that finishes the migration at the record's end.
[[nodiscard]] std::string recover_line(const state::Record& record);

}  // namespace gc::recover

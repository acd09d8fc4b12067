// SPDX-License-Identifier: GPL-2.0-or-later
// What a host remembers of a migration while its gcctl lives, and afterwards if something is left
// to do. It holds no secret.
#pragma once

#include "state/process.h"
#include "util/error.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gc::state {

enum class Role : std::uint8_t { source, destination };
[[nodiscard]] std::string_view name(Role role);

/// How far a migration has come, in order. A later phase is written before the step that it stands
/// for is taken: a record in an earlier phase proves that the step was not taken.
enum class Phase : std::uint8_t {
    begun,
    switched_over,  ///< source only: the VM is stopped there
    committed,      ///< the VM may run at the destination
    running,        ///< it runs there, or is there paused as it was
    never_ran,      ///< the destination QEMU has ended and the VM has not run there
    taking_back,    ///< source only: the operator has decided that the VM runs there
};
[[nodiscard]] std::string_view name(Phase phase);

struct Record {
    std::string id;  ///< peer::public_id() of the migration's token
    Role role = Role::source;
    Phase phase = Phase::begun;
    Process gcctl;
    std::string qmp;          ///< an absolute path; empty if libvirt owns the VM
    std::string domain = {};  ///< of libvirt's: its name or UUID; else empty
    std::string finish = {};  ///< likewise, at the source: the command that finishes the migration
    Process qemu;
    std::string peer;                    ///< the other gcctl's address
    std::vector<std::string> arguments;  ///< of `gcctl migrate` or `gcctl receive`
    bool runs = true;                    ///< the VM ran at the source, it was not paused
    /// Of the source QEMU's migration, as they were before gcctl changed them.
    std::map<std::string, bool, std::less<>> capabilities;
    std::map<std::string, std::int64_t, std::less<>> parameters;
    std::int64_t begun = 0;    ///< seconds since the epoch
    std::int64_t changed = 0;  ///< the same, of the last phase

    /// Whether the VM may have run at the destination.
    [[nodiscard]] bool may_have_run() const {
        return phase == Phase::committed || phase == Phase::running;
    }
};

/// "ID.ROLE", which is one record of a host; both ends of a migration may be on one.
[[nodiscard]] std::string full_name(const Record& record);
/// Whether a user's word, the id or the full name, means the record.
[[nodiscard]] bool is_named(const Record& record, std::string_view word);

/// One object of JSON.
[[nodiscard]] std::string encode(const Record& record);
/// Never throws. Errors: protocol.
[[nodiscard]] Result<Record> decode(std::string_view text);

/// The identifier in a verdict or from a user: 16 lower-case hexadecimal digits.
[[nodiscard]] bool is_id(std::string_view text);

/// What the destination's operator is told, and the source's operator types.
[[nodiscard]] std::string never_ran(const std::string& id);
/// The same as a command. @param destination the record of the destination
[[nodiscard]] std::string take_back_at_source(const Record& destination);
/// "never-ran" or "never-ran:ID". @return the id, or an empty string. Errors: usage.
[[nodiscard]] Result<std::string> parse_verdict(std::string_view text);

}  // namespace gc::state

// SPDX-License-Identifier: GPL-2.0-or-later
// The directory that holds the records: /run/guidecopy for root, $XDG_RUNTIME_DIR/guidecopy for
// others, or $GUIDECOPY_STATE_DIR. A reboot may empty it, for it ends the QEMUs, too.
#pragma once

#include "state/record.h"

#include <optional>
#include <string>
#include <vector>

namespace gc::state {

/// Errors: unsupported, if no variable says where it is.
Result<std::string> directory();

/// The records of this host, the oldest first. Files that are no records are named in `problems`.
struct Listing {
    std::vector<Record> records;
    std::vector<std::string> problems;
};
Listing list();

/// The record of a QEMU in a role: if there are several, of this QMP socket; if several of these,
/// the latest.
std::optional<Record> find(Role role, const Process& qemu, const std::string& qmp);

/// Removes a record. Best effort.
void forget(const Record& record);

/// Keeps one record on disk. Only begin() can fail: a change of phase needs no more room on the
/// disk than begin() has taken.
class Journal {
  public:
    /// Writes the record, replacing one of the same id and role. Fills in this process and the
    /// times. Removes the records of destinations that were of no use for a week. Errors: io,
    /// unsupported; the caller warns, and goes on without.
    static Result<Journal> begin(Record record);

    /// Writes the phase. It is on disk, for other processes, when this returns: there is no
    /// fsync(2), which only the death of the whole host would need. A record that cannot be kept
    /// right is removed.
    void set(Phase phase);
    /// The same, once it is known whether the VM ran at the source.
    void set(Phase phase, bool runs);
    /// Nothing is left to do: removes the record. Best effort. Also from a forked child.
    void finish();

    [[nodiscard]] const Record& record() const { return record_; }

  private:
    Journal(Record record, std::string path, std::string spare, std::size_t room)
        : record_(std::move(record)), path_(std::move(path)), spare_(std::move(spare)),
          room_(room) {}

    Record record_;
    std::string path_;
    std::string spare_;  ///< written in place, then exchanged with the record
    std::size_t room_;   ///< bytes of each
};

/// A new journal of this process. Makes the record's `qmp` absolute.
Result<Journal> keep(Record record, pid_t qemu);
/// The same for a journal that there may not be.
void set(std::optional<Journal>& journal, Phase phase);
void set(std::optional<Journal>& journal, Phase phase, bool runs);
void finish(std::optional<Journal>& journal);

}  // namespace gc::state

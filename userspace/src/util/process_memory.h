// SPDX-License-Identifier: GPL-2.0-or-later
// Reads a range of another process's memory.
#pragma once

#include "util/fd.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>

namespace gc {
inline namespace util {

/// The number in a line such as "RssAnon:   123 kB" of a file in /proc, in bytes.
/// Errors: io; protocol, if there is no such line.
Result<std::uint64_t> proc_bytes(const std::string& path, std::string_view key);

/// Resident private memory of a process in bytes: neither file-backed nor shared (RssAnon in
/// /proc/PID/status). Errors: io.
Result<std::uint64_t> resident_private(pid_t pid);

/// The content of a private mapping where the process has no page of its own: that of a file, or
/// zeros.
struct Underlay {
    UniqueFd file;
    std::uint64_t offset = 0;  ///< position in the file of the range's first byte
};

class ProcessMemory {
  public:
    /// @param address start of the range, a multiple of 4 KiB
    /// @param underlay if known, memory that the process has never touched is read from there:
    /// reading it in the process would populate it Errors: io, unsupported (not permitted).
    static Result<ProcessMemory> open(pid_t pid, std::uint64_t address, std::uint64_t length,
                                      std::optional<Underlay> underlay);

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] std::uint64_t address() const { return address_; }

    /// Checks that `pid` still names the process passed to open(). Errors: io, if the process has
    /// ended.
    Result<void> check_alive() const;

    /// Reads whole pages of the range. Errors: io, if the process has ended or unmapped the range.
    Result<void> read(std::uint64_t offset, std::span<std::byte> into) const;

    /// The first page at or after `page` that may be nonzero, or the end of the range. Errors: io.
    Result<std::uint64_t> next_data(std::uint64_t page) const;
    /// The first page at or after `page` that is known to be zeros without reading it, since it was
    /// never populated, or the end of the range. Errors: io.
    Result<std::uint64_t> next_hole(std::uint64_t page) const;

  private:
    ProcessMemory() = default;

    Result<void> probe() const;
    Result<void> read_entries(std::uint64_t page, std::span<std::uint64_t> entries) const;
    Result<void> read_process(std::uint64_t offset, std::span<std::byte> into) const;
    Result<void> read_underlay(std::uint64_t offset, std::span<std::byte> into) const;
    [[nodiscard]] std::uint64_t next_in_file(std::uint64_t page) const;
    [[nodiscard]] std::uint64_t next_hole_in_file(std::uint64_t page) const;

    pid_t pid_ = -1;
    UniqueFd process_;  ///< pidfd
    UniqueFd pagemap_;
    std::optional<Underlay> underlay_;
    std::uint64_t address_ = 0;
    std::uint64_t length_ = 0;
};

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
// A range of another process's memory, to be read and never written.
#pragma once

#include "util/fd.h"

#include <cstdint>
#include <sys/types.h>

namespace gc {

/// Bytes of memory that are a process's own: neither a file's nor shared (RssAnon of
/// /proc/PID/status). Errors: io.
Result<std::uint64_t> resident_private(pid_t pid);

class ProcessMemory {
  public:
    /// @param address of the range, a multiple of 4 KiB
    /// @param untouched_is_zero what the process has never touched reads as zeros: memory without a
    /// file, and not in huge pages. Such memory is not read, which would populate it.
    /// Errors: io, unsupported (not permitted).
    static Result<ProcessMemory> open(pid_t pid, std::uint64_t address, std::uint64_t length,
                                      bool untouched_is_zero);

    [[nodiscard]] pid_t pid() const { return pid_; }
    [[nodiscard]] std::uint64_t address() const { return address_; }

    /// Whether `pid` still is, and so always was, the process of open(). Errors: io, it has ended.
    Result<void> check_alive() const;

    /// Reads bytes of the range. Errors: io, the process has ended, or unmapped it.
    Result<void> read(std::uint64_t offset, std::span<std::byte> into) const;

    /// The first page from `page` on that the process may have touched; the end of the range if
    /// there is none. Errors: io.
    Result<std::uint64_t> next_touched(std::uint64_t page) const;

  private:
    ProcessMemory() = default;

    pid_t pid_ = -1;
    UniqueFd process_;  ///< pidfd
    UniqueFd pagemap_;  ///< none where untouched memory may have content
    std::uint64_t address_ = 0;
    std::uint64_t length_ = 0;
};

}  // namespace gc

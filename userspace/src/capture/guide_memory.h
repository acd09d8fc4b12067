// SPDX-License-Identifier: GPL-2.0-or-later
// The guide's own userfaultfd: page faults without a way through QEMU's threads.
#pragma once

#include "util/error.h"
#include "util/fd.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <sys/types.h>
#include <vector>

namespace gc::capture {

/// Where a guide's RAM is.
struct GuidePlace {
    pid_t pid = -1;
    int pidfd = -1;                        ///< of that process, kept by the caller
    std::vector<std::uint64_t> addresses;  ///< of each block of the image, in the guide
};

/// A second user of the userfaultfd that a guide's QEMU has made. A fault goes to whichever
/// reads it first: gcctl, which answers it at once, or QEMU, which requests the page of gcctl.
///
/// QEMU does not know the pages that are put in place here. That matters to recovery, to
/// postcopy-preempt and to postcopy-blocktime, none of which a guide has.
class GuideMemory {
  public:
    /// Finds the descriptor, which exists from the time on that the guide requests pages. Errors:
    /// unsupported, if it may not be taken; io.
    static Result<GuideMemory> take(const GuidePlace& place);

    /// Readable when a fault waits.
    [[nodiscard]] int fd() const { return fd_.get(); }
    /// Reads the addresses of faults. @return those read; empty if another reader was faster
    Result<std::span<const std::uint64_t>> read();

    /// Puts a page in place, nullopt for zeros, and lets its threads run on. A page that is in
    /// place already stays. Errors: io.
    Result<void> place(std::uint64_t address, std::optional<std::span<const std::byte>> content);
    /// Lets the threads that wait for a page access it again.
    void repeat(std::uint64_t address) const;

  private:
    explicit GuideMemory(UniqueFd fd) : fd_(std::move(fd)) {}

    UniqueFd fd_;
    std::vector<std::uint64_t> addresses_;
};

}  // namespace gc::capture

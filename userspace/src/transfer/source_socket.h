// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "util/fd.h"

#include <cerrno>
#include <cstdint>
#include <mutex>

namespace gc::transfer {

/// The migration socket of the source QEMU. Several threads write to it.
class SourceSocket {
  public:
    explicit SourceSocket(UniqueFd fd) : fd_(std::move(fd)) {}

    [[nodiscard]] int fd() const { return fd_.get(); }
    /// What the source cannot go on without. Errors: io.
    Result<void> write(std::span<const std::byte> bytes);
    /// What no longer matters if the source has completed its migration, and with it closed the
    /// socket. That it failed is for its stream to tell. Errors: io, of anything else.
    Result<void> write_unless_ended(std::span<const std::byte> bytes);
    /// Whether the source has closed its end: for a reader also if it had not read all that was
    /// written to it.
    static bool is_end(const Error& error) {
        return error.error_number == EPIPE || error.error_number == ECONNRESET;
    }
    /// Bytes that the source has written and the relay has not read.
    [[nodiscard]] std::uint64_t unread() const;
    /// Only when no thread uses it any more.
    void close() { fd_.reset(); }

  private:
    UniqueFd fd_;
    std::mutex mutex_;
};

}  // namespace gc::transfer

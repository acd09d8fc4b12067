// SPDX-License-Identifier: GPL-2.0-or-later
// Files with access traces.
#pragma once

#include "trace/trace.h"
#include "util/fd.h"

namespace gc::trace {

/// Errors: usage, if it is not a regular file; io; those of trace::parse(), prefixed with the
/// file's name.
Result<Trace> read_trace(const std::string& path);

/// Writes a trace while it is recorded. Readers recognise a trace that was not finished.
class TraceFile {
  public:
    /// Creates or replaces the file. Errors: io.
    static Result<TraceFile> create(const std::string& path, const Header& header);

    Result<void> append(const Epoch& epoch);
    Result<void> finish();
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
    [[nodiscard]] std::uint64_t epochs() const { return epochs_; }

  private:
    TraceFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
    Result<void> write(std::span<const std::byte> bytes);

    std::string path_;
    UniqueFd fd_;
    std::uint64_t bytes_ = 0;
    std::uint64_t epochs_ = 0;
};

}  // namespace gc::trace

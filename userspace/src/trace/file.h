// SPDX-License-Identifier: GPL-2.0-or-later
// Access traces in files.
#pragma once

#include "trace/trace.h"
#include "util/fd.h"

namespace gc::trace {

/// Errors: usage when it is no regular file; io; those of trace::parse(), with the file's name.
Result<Trace> read_trace(const std::string& path);

/// Writes a trace while it is recorded. What was not finished is recognised by readers.
class TraceFile {
  public:
    /// Replaces the file. Errors: io.
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

// SPDX-License-Identifier: GPL-2.0-or-later
// The seam between the checks and the host: where its files are.
#pragma once

#include "util/error.h"
#include "util/fd.h"

#include <optional>
#include <string>
#include <vector>

namespace gc::doctor {

class Host {
  public:
    /// @param root stands for "/"; a test has a directory with the files of the host it plays
    explicit Host(std::string root = "") : root_(std::move(root)) {}

    /// The path as the host's own programs would write it -> where it is here.
    [[nodiscard]] std::string path(const std::string& file) const { return root_ + file; }
    [[nodiscard]] bool exists(const std::string& file) const;
    /// The file's text without surrounding white space; none if it cannot be read.
    [[nodiscard]] std::optional<std::string> text(const std::string& file) const;
    [[nodiscard]] Result<UniqueFd> open(const std::string& file, int flags) const;

    [[nodiscard]] std::string kernel_release() const;
    /// A capability of this process (CAP_SYS_ADMIN and so on).
    [[nodiscard]] bool has_capability(unsigned capability) const;

  private:
    std::string root_;
};

/// Runs a program without a shell; gives its standard output. Errors: io, after 10 s too
Result<std::string> output_of(const std::vector<std::string>& argv);

}  // namespace gc::doctor

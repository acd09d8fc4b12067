// SPDX-License-Identifier: GPL-2.0-or-later
// The interface between the checks and the host: access to its files.
#pragma once

#include "util/error.h"
#include "util/fd.h"

#include <optional>
#include <string>
#include <vector>

namespace gc::doctor {

class Host {
  public:
    /// @param root prefix of all paths; tests pass a directory with the files of a fake host
    explicit Host(std::string root = "") : root_(std::move(root)) {}

    /// Where a path of the host is found here.
    [[nodiscard]] std::string path(const std::string& file) const { return root_ + file; }
    [[nodiscard]] bool exists(const std::string& file) const;
    /// The file's text without surrounding white space, or nullopt if it cannot be read.
    [[nodiscard]] std::optional<std::string> text(const std::string& file) const;
    [[nodiscard]] Result<UniqueFd> open(const std::string& file, int flags) const;

    [[nodiscard]] std::string kernel_release() const;
    /// Whether a kernel module is loaded, built in, or can be loaded.
    [[nodiscard]] bool has_module(const std::string& name) const;
    /// Whether this process has a capability (CAP_SYS_ADMIN, ...).
    [[nodiscard]] bool has_capability(unsigned capability) const;

  private:
    std::string root_;
};

/// Runs a program without a shell and returns its standard output. Errors: io, also after 10 s
Result<std::string> output_of(const std::vector<std::string>& argv);

}  // namespace gc::doctor

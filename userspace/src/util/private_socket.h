// SPDX-License-Identifier: GPL-2.0-or-later
// A unix socket for one connection from another process, which may run as another user.
#pragma once

#include "util/socket.h"

#include <string>
#include <sys/types.h>

namespace gc {
inline namespace util {

/// A directory with mode 0700, owned by the user of another process. Removed with this object.
class PrivateDirectory {
  public:
    /// Creates the directory below $TMPDIR or /tmp. @param pid process that must be able to use it
    static Result<PrivateDirectory> make(pid_t pid);

    PrivateDirectory(PrivateDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    PrivateDirectory& operator=(PrivateDirectory&&) = delete;
    PrivateDirectory(const PrivateDirectory&) = delete;
    PrivateDirectory& operator=(const PrivateDirectory&) = delete;
    ~PrivateDirectory();

    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    explicit PrivateDirectory(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

/// Listens in a private directory for one connection from a process.
class PrivateListener {
  public:
    static Result<PrivateListener> make(pid_t pid);

    /// "unix:PATH", as in QEMU's options.
    [[nodiscard]] std::string uri() const;
    /// Errors: io, also if the process does not connect in time.
    Result<UniqueFd> accept(std::chrono::milliseconds timeout);

  private:
    PrivateListener(PrivateDirectory directory, UniqueFd fd)
        : directory_(std::move(directory)), fd_(std::move(fd)) {}

    PrivateDirectory directory_;
    UniqueFd fd_;
};

}  // namespace util
}  // namespace gc

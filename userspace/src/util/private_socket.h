// SPDX-License-Identifier: GPL-2.0-or-later
// A place for a unix socket that another process, which may run as another user, listens on.
#pragma once

#include "util/socket.h"

#include <string>
#include <sys/types.h>

namespace gc {
inline namespace util {

/// A directory with mode 0700 below $TMPDIR or /tmp, removed with this object.
///
/// Once the directory is given away, its new owner can replace any name in it at any time. So
/// nothing is chowned, chmoded or created in it by name afterwards, and connect() does not believe
/// the name: it checks who listens.
class PrivateDirectory {
  public:
    /// Creates the directory and gives it to the user of a process. If that has another root or
    /// mount namespace, the directory is in there.
    static Result<PrivateDirectory> make(pid_t pid);

    /// Creates the directory; it belongs to gcctl's user.
    static Result<PrivateDirectory> make();
    /// Gives the directory to the user of a process. Works on the directory that make() created,
    /// whatever its path has become. Errors: io.
    Result<void> give_to(pid_t pid);

    PrivateDirectory(PrivateDirectory&& other) noexcept;
    PrivateDirectory& operator=(PrivateDirectory&&) = delete;
    PrivateDirectory(const PrivateDirectory&) = delete;
    PrivateDirectory& operator=(const PrivateDirectory&) = delete;
    ~PrivateDirectory();

    /// As the process sees it.
    [[nodiscard]] const std::string& path() const { return path_; }

    /// Connects to a socket in the directory, on which the process that the directory was given to
    /// listens. @param by_pid false: any process of its user may listen, because the process is a
    /// manager that started the listener
    /// Errors: io, also if somebody else listens.
    [[nodiscard]] Result<UniqueFd> connect(const std::string& name, Deadline deadline,
                                           bool by_pid = true) const;

  private:
    PrivateDirectory(std::string path, UniqueFd parent, UniqueFd fd)
        : path_(std::move(path)), parent_(std::move(parent)), fd_(std::move(fd)) {}
    static Result<PrivateDirectory> make_in(UniqueFd parent, const std::string& base);
    static Result<PrivateDirectory> make_as_seen_by(pid_t pid);

    std::string path_;
    UniqueFd parent_;
    UniqueFd fd_;
    pid_t owner_ = -1;
    uid_t uid_ = static_cast<uid_t>(-1);
};

/// The two connected ends of a unix stream socket.
struct SocketPair {
    UniqueFd ours;
    UniqueFd theirs;

    static Result<SocketPair> make();
};

}  // namespace util
}  // namespace gc

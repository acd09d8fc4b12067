// SPDX-License-Identifier: GPL-2.0-or-later
// A child process with a group of its own: what a terminal sends to this process does not reach it.
#pragma once

#include "util/fd.h"

#include <functional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace gc {
inline namespace util {

class ChildProcess {
  public:
    /// A copy of this process that does the work and exits with its result. Call it before any
    /// thread exists. Errors: io.
    static Result<ChildProcess> fork(const std::function<int()>& work);
    /// A program. Blocks and ignores no signal. @param output, errors its standard output and
    /// error; its standard input is empty. Errors: io.
    static Result<ChildProcess> spawn(const std::vector<std::string>& command, int output,
                                      int errors);

    /// Readable once it has ended.
    [[nodiscard]] int fd() const { return pidfd_.get(); }
    [[nodiscard]] pid_t pid() const { return pid_; }
    void signal(int number) const;
    /// Waits for its end. Only once. @return its exit status; 128 + N if signal N ended it
    int wait();

  private:
    ChildProcess(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
    static Result<ChildProcess> of(pid_t pid);

    pid_t pid_;
    UniqueFd pidfd_;
};

}  // namespace util
}  // namespace gc

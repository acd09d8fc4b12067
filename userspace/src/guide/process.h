// SPDX-License-Identifier: GPL-2.0-or-later
// The guide's process: a QEMU that inherits only what it is given, has no more rights than its
// source, and dies with its parent.
#pragma once

#include "util/error.h"
#include "util/fd.h"
#include "util/guardian.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace gc::guide {

struct InheritedFd {
    int fd = -1;      ///< in this process
    int number = -1;  ///< in the guide; 3 or more
};

struct SpawnOptions {
    /// The guide runs this process's program in its working directory and with at most its rights:
    /// its user, groups, namespaces, cgroups, LSM label and resource limits, no capabilities, and
    /// no_new_privs. Whoever controls the source must gain nothing by the guide.
    pid_t source = -1;
    std::vector<std::string> argv;
    std::vector<InheritedFd> inherited;    ///< kept by the caller too
    int network_namespace = -1;            ///< -1: that of gcctl
    std::vector<std::string> environment;  ///< NAME=VALUE, besides the few that every guide gets
    int scratch = -1;                      ///< directory for temporary files; -1: the system's
    int nice = 0;                          ///< added to that of gcctl
};

/// How a process ended.
struct ExitReport {
    int wait_status = 0;     ///< as of waitpid(2)
    std::string how;         ///< "exit status 1", "killed by signal 9 (Killed)"
    std::string last_words;  ///< the end of its standard output and error, trimmed
};

/// Owns a child process and kills it in the destructor. Move-only.
///
/// The kernel kills the child when the *thread* that called spawn() ends (PR_SET_PDEATHSIG): call
/// it in a thread that lives as long as gcctl, such as the main thread. For a child with another
/// LSM label a guardian does that.
class Process {
  public:
    Process() = default;
    Process(Process&& other) noexcept;
    Process& operator=(Process&& other) noexcept;
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process();

    /// Returns once the program runs. Errors: unsupported, with the right of the source that the
    /// guide cannot be given, or what is wrong with the program; io, with the step that failed.
    static Result<Process> spawn(const SpawnOptions& options);

    [[nodiscard]] explicit operator bool() const { return pid_ > 0; }
    [[nodiscard]] pid_t pid() const { return pid_; }
    /// Becomes readable when the process has ended.
    [[nodiscard]] int pidfd() const { return pidfd_.get(); }

    /// How it ended; nullopt while it runs. Also drains its output, which would be lost after 64
    /// KiB otherwise.
    std::optional<ExitReport> poll_exit();

    /// Kills and reaps it. Errors: io, if it does not end in time (it can then be killed again)
    Result<ExitReport> kill(std::chrono::milliseconds timeout = std::chrono::seconds(5));

    /// The end of its standard output and error, at most 4 KiB.
    std::string output();

  private:
    void drain();
    Result<ExitReport> reap(int flags);

    pid_t pid_ = -1;
    UniqueFd pidfd_;
    UniqueFd output_;
    std::string tail_;
    std::optional<ExitReport> report_;
    std::unique_ptr<Guardian> guardian_;  ///< if it has another LSM label than gcctl
};

}  // namespace gc::guide

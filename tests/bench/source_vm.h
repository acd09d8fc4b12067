// SPDX-License-Identifier: GPL-2.0-or-later
// The source for benchmarks of the data path: a real QEMU with a stopped VM whose memory holds only
// data, no zero pages. It needs neither KVM nor the module.
#pragma once

#include "qmp/client.h"
#include "util/error.h"
#include "util/fd.h"

#include <chrono>
#include <filesystem>
#include <string>
#include <sys/types.h>
#include <vector>

namespace gc::bench {

/// A child process, killed by the destructor.
class Child {
  public:
    static Result<Child> spawn(std::vector<std::string> argv, const std::string& output);
    Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), used_(other.used_) {}
    Child& operator=(Child&&) = delete;
    ~Child();

    [[nodiscard]] pid_t pid() const { return pid_; }
    /// Waits for its end, at most `timeout`. @return whether it has ended
    bool wait(std::chrono::milliseconds timeout);
    /// User and system time so far, in seconds.
    [[nodiscard]] double cpu_seconds() const;
    /// Its anonymous memory, in bytes (RssAnon).
    [[nodiscard]] std::uint64_t anonymous_bytes() const;

  private:
    explicit Child(pid_t pid) : pid_(pid) {}
    pid_t pid_;        ///< -1 once it has ended
    double used_ = 0;  ///< its CPU time once it has ended
};

class SourceVm {
  public:
    /// @param directory for its sockets and its memory; on a file system in memory
    static Result<SourceVm> start(const std::filesystem::path& directory, std::size_t mib);

    [[nodiscard]] qmp::Client& qmp() { return qmp_; }
    [[nodiscard]] const Child& process() const { return process_; }
    /// A second monitor, which nothing is connected to.
    [[nodiscard]] const std::string& qmp_path() const { return path_; }

  private:
    SourceVm(Child process, qmp::Client qmp, std::string path)
        : process_(std::move(process)), qmp_(std::move(qmp)), path_(std::move(path)) {}

    Child process_;
    qmp::Client qmp_;
    std::string path_;
};

}  // namespace gc::bench

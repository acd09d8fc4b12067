// SPDX-License-Identifier: GPL-2.0-or-later
// The source of a benchmark of the data path: a real QEMU with a stopped VM whose memory is all
// data. It needs neither KVM nor the module.
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

/// A child process, ended with its owner.
class Child {
  public:
    static Result<Child> spawn(std::vector<std::string> argv, const std::string& output);
    Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), used_(other.used_) {}
    Child& operator=(Child&&) = delete;
    ~Child();

    [[nodiscard]] pid_t pid() const { return pid_; }
    /// Whether it has ended, at the latest after so long.
    bool wait(std::chrono::milliseconds timeout);
    /// User and system time so far, in seconds.
    [[nodiscard]] double cpu_seconds() const;
    /// Its anonymous memory, in bytes (RssAnon).
    [[nodiscard]] std::uint64_t anonymous_bytes() const;

  private:
    explicit Child(pid_t pid) : pid_(pid) {}
    pid_t pid_;        ///< -1: it has ended
    double used_ = 0;  ///< then: its CPU time
};

class SourceVm {
  public:
    /// @param directory for its sockets and its memory; on a file system in memory
    static Result<SourceVm> start(const std::filesystem::path& directory, std::size_t mib);

    [[nodiscard]] qmp::Client& qmp() { return qmp_; }
    [[nodiscard]] const Child& process() const { return process_; }
    /// Of a monitor that nobody has.
    [[nodiscard]] const std::string& qmp_path() const { return path_; }

  private:
    SourceVm(Child process, qmp::Client qmp, std::string path)
        : process_(std::move(process)), qmp_(std::move(qmp)), path_(std::move(path)) {}

    Child process_;
    qmp::Client qmp_;
    std::string path_;
};

}  // namespace gc::bench

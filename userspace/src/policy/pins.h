// SPDX-License-Identifier: GPL-2.0-or-later
// The directory of the BPF file system that holds all parts of an attachment:
//
//   BPFFS/guidecopy/NETNS-DEVICE/{program,link,state,gc_config,gc_stats,gc_rates}
//
// NETNS is the inode number of the network namespace. BPFFS is /sys/fs/bpf, or the value of the
// environment variable GC_BPFFS. The directory outlives the process that created it, but not a
// reboot, like qdiscs.
//
// The directory is locked with flock: shared by each user of the attachment, exclusively while it
// is created or removed. If the lock is free, an unfinished attachment was left by a killed gcctl.
// Processes that attach, change or remove anything first lock BPFFS/guidecopy itself.
#pragma once

#include "util/error.h"
#include "util/fd.h"

#include <optional>
#include <string>
#include <vector>

namespace gc::policy {

class Pins {
  public:
    /// Creates the directory if necessary. Errors: unsupported (no BPF file system, no permission).
    static Result<Pins> make(const std::string& device);
    /// @return nullopt if the directory does not exist
    static Result<std::optional<Pins>> find(const std::string& device);

    struct Entry {
        std::uint64_t netns = 0;
        std::string device;
        std::string path;
    };
    /// The directories of all namespaces; empty if there is no BPF file system.
    static Result<std::vector<Entry>> all();
    static Result<std::optional<Pins>> open(const Entry& entry);

    /// Takes the lock for changes to any device, without waiting. It is released with the
    /// descriptor. @return nullopt if another process holds it. Errors: those of make().
    static Result<std::optional<UniqueFd>> try_turn();

    enum class Lock { shared, exclusive };
    /// Does not wait. @return false if another process holds the lock
    Result<bool> try_lock(Lock kind);
    /// Whether the path still names this directory.
    [[nodiscard]] bool current() const;

    Result<void> pin(int object, const std::string& name);
    /// @return an empty descriptor if there is no such pin
    [[nodiscard]] UniqueFd get(const std::string& name) const;
    Result<void> unpin(const std::string& name);
    Result<void> rename(const std::string& from, const std::string& to);
    /// Removes the directory and everything in it, `last` after all other entries.
    Result<void> remove(const std::string& last);

    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    Pins(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
    [[nodiscard]] std::string at(const std::string& name) const { return path_ + "/" + name; }

    std::string path_;
    UniqueFd fd_;
};

/// The error for a device without a policy: unsupported.
Unexpected no_policy_on(const std::string& device);

/// The inode number of this thread's network namespace.
Result<std::uint64_t> own_netns();
/// Whether a process, or a mount that this process can see, keeps a network namespace alive.
bool netns_exists(std::uint64_t inode);

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
// The directory of the BPF file system that holds all of one attachment:
//
//   BPFFS/guidecopy/NETNS-DEVICE/{program,link,state,gc_config,gc_stats,gc_rates}
//
// NETNS is the inode number of the network namespace, BPFFS is /sys/fs/bpf unless the environment
// says GC_BPFFS. It outlives the process that made it, and goes with the boot, as qdiscs do.
//
// The directory is locked (flock): shared by each user of the attachment, exclusively by who makes
// or removes it. So what a killed gcctl left is known by its free lock. BPFFS/guidecopy itself is
// locked by who attaches, changes or removes anything, before that.
#pragma once

#include "util/error.h"
#include "util/fd.h"

#include <optional>
#include <string>
#include <vector>

namespace gc::policy {

class Pins {
  public:
    /// Makes the directory if there is none. Errors: unsupported: no BPF file system, no right.
    static Result<Pins> make(const std::string& device);
    /// @return none: there is no such directory
    static Result<std::optional<Pins>> find(const std::string& device);

    struct Entry {
        std::uint64_t netns = 0;
        std::string device;
        std::string path;
    };
    /// Those of all namespaces. None if there is no BPF file system either.
    static Result<std::vector<Entry>> all();
    static Result<std::optional<Pins>> open(const Entry& entry);

    /// The turn to change what there is, of whatever device. It ends with the descriptor. Does not
    /// wait. @return none: somebody else has it. Errors: those of make().
    static Result<std::optional<UniqueFd>> try_turn();

    enum class Lock { shared, exclusive };
    /// Does not wait. @return false: somebody else holds it
    Result<bool> try_lock(Lock kind);
    /// Whether the directory is still the one of its name.
    [[nodiscard]] bool current() const;

    Result<void> pin(int object, const std::string& name);
    /// @return none: there is no such pin
    [[nodiscard]] UniqueFd get(const std::string& name) const;
    Result<void> unpin(const std::string& name);
    Result<void> rename(const std::string& from, const std::string& to);
    /// All of it, `last` after all others.
    Result<void> remove(const std::string& last);

    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    Pins(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
    [[nodiscard]] std::string at(const std::string& name) const { return path_ + "/" + name; }

    std::string path_;
    UniqueFd fd_;
};

/// Errors: unsupported, always.
Unexpected none_on(const std::string& device);

/// Inode number of this thread's network namespace.
Result<std::uint64_t> own_netns();
/// Whether a process, or a mount that this process sees, keeps a network namespace.
bool netns_exists(std::uint64_t inode);

}  // namespace gc::policy

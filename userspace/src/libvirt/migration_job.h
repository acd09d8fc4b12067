// SPDX-License-Identifier: GPL-2.0-or-later
// A migration that libvirt drives, peer to peer: its call returns when it is over.
#pragma once

#include "libvirt/domain.h"
#include "util/deadline.h"

namespace gc::libvirt {

struct MigrationRequest {
    std::string destination_uri;  ///< of the other host's libvirt, as this host's reaches it
    std::string migrate_uri;      ///< of QEMU's stream
    std::uint64_t mib_per_s = 0;  ///< of pre-copy; 0: no limit
    bool persistent = false;      ///< define the domain at the destination
    bool undefine_source = false;
    bool unsafe = false;  ///< even if libvirt takes the disks for not shared, or cached
};

class MigrationJob {
  public:
    using OnEnd = std::function<void(const Result<void>&)>;
    /// Begins it in a thread. @param on_end called there when it is over, perhaps after this object
    static std::unique_ptr<MigrationJob> start(Domain domain, MigrationRequest request,
                                               OnEnd on_end);
    /// Waits a while, and then leaves the call alone: libvirt goes on with it in any case.
    ~MigrationJob();
    MigrationJob(const MigrationJob&) = delete;
    MigrationJob& operator=(const MigrationJob&) = delete;

    /// How it ended, by the deadline; nullopt if it has not.
    [[nodiscard]] std::optional<Result<void>> result(Deadline deadline) const;

  private:
    struct Shared;
    explicit MigrationJob(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

    std::shared_ptr<Shared> shared_;
};

}  // namespace gc::libvirt

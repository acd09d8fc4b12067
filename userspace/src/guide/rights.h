// SPDX-License-Identifier: GPL-2.0-or-later
// What a process may do, as far as another process can be given the same.
#pragma once

#include "util/error.h"
#include "util/fd.h"

#include <array>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/types.h>
#include <vector>

namespace gc::guide {

/// The rights of a source QEMU that its guide takes over. Capabilities are not among them: a guide
/// has none.
struct Rights {
    uid_t uid = 0;  ///< as the user namespace that the guide will be in calls it; the same for gid
    gid_t gid = 0;
    std::vector<gid_t> groups;  ///< as gcctl's user namespace calls them
    bool other_user = false;    ///< uid, gid or groups differ from those of gcctl

    UniqueFd pidfd;
    int namespaces =
        0;  ///< CLONE_NEW* of the namespaces, the network's aside, that gcctl is not in
    bool pid_namespace = false;  ///< the source's PID namespace is not gcctl's
    UniqueFd root;               ///< its root directory, if it is not gcctl's

    std::string label_file;  ///< below /proc/thread-self
    std::string label;       ///< to be written to label_file before exec; empty: nothing to do
    /// SELinux gives no program another label once no_new_privs is set, unless a policy says so: it
    /// is left to QEMU's sandbox to set it.
    bool sandbox_refuses = false;

    std::vector<UniqueFd> cgroups;  ///< cgroup.procs of each cgroup that gcctl is not in
    std::array<rlimit, RLIM_NLIMITS> limits{};

    /// Reads them. Errors: unsupported, with the right that a guide cannot be given; io.
    static Result<Rights> of(pid_t source);
    /// Fails if the source has changed its user, groups, capabilities or filters since.
    [[nodiscard]] Result<void> check_unchanged() const;
    /// Fails if a guide's program runs without no_new_privs. Errors: unsupported, io.
    static Result<void> check_sandbox(pid_t guide);

  private:
    pid_t source_ = -1;
    std::string identity_;  ///< the lines of /proc/PID/status that must not change
};

/// What a process with the LSM label `own` writes to attr/exec so that its next program gets the
/// label `wanted`; empty if that is no restriction or nothing changes.
/// @param apparmor the labels are AppArmor's, with a mode in parentheses
std::string label_request(std::string_view own, std::string_view wanted, bool apparmor);

/// What the user or group `outside` is called in a user namespace.
/// @param map its /proc/PID/uid_map or gid_map: lines of "inside outside count"
/// Errors: unsupported, if it has no name there
Result<unsigned> inside_user_namespace(std::string_view map, unsigned outside);

}  // namespace gc::guide

// SPDX-License-Identifier: GPL-2.0-or-later
// A policy on a NIC: a tc program, its maps, and the qdisc that delays its packets. All of it lives
// in the kernel, pinned below one directory, and outlives the process that attached it.
#pragma once

#include "gc_policy.h"
#include "policy/pins.h"
#include "policy/policy.h"
#include "policy/state.h"

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace gc::policy {

struct AttachOptions {
    std::string device;
    Policy policy;
    std::optional<std::uint64_t> link_bytes_per_s;  ///< overrides the policy and the NIC
    std::string object;                             ///< a file; empty for gcctl's own program
    bool lasting = true;                            ///< stays when its last user ends
    std::string link_option = "--link";  ///< option that sets the rate, for error messages
};

using Counters = std::array<gc_class_stats, GC_COUNTERS>;  ///< summed over all CPUs

struct Status {
    std::string device;
    Policy policy;
    std::string object;   ///< "gcctl's own", or a file
    std::string hook;     ///< "tcx" or "clsact"
    std::string missing;  ///< what was removed from the NIC ("fq"), or empty
    std::string before;   ///< other filters that see packets first ("bpf of priority 1"), or empty
    std::uint64_t link_bytes_per_s = 0;
    bool lasting = true;
    gc_policy_config config{};
    Counters counters{};
    std::optional<std::array<std::uint64_t, GC_COUNTERS>>
        rates;  ///< those of the program, if it reports them

    /// A warning for the user that attaches or joins the policy, or empty.
    [[nodiscard]] std::string warning() const;
};

/// An existing attachment.
class Attachment {
  public:
    /// Attaches a policy; after an error, nothing has changed. First removes what a killed gcctl
    /// left on the NIC. Errors: unsupported (no CAP_BPF, no fq, no BPF file system, a qdisc that
    /// cannot be replaced, an object that is invalid or that the verifier rejects, a policy already
    /// attached), usage, io.
    static Result<Attachment> attach(const AttachOptions& options);
    /// Errors: unsupported, if the device has no policy.
    static Result<Attachment> open(const std::string& device);
    /// Becomes a user of an existing attachment, like the process that attaches it.
    /// @return nullopt if there is none, or only one that a killed gcctl left or that is broken()
    /// Errors: io, if another process takes too long to attach or detach; unsupported, if a part of
    /// the attachment was removed while others use it.
    static Result<std::optional<Attachment>> join(const std::string& device);
    /// Finds an attachment that was made to stay, and of which a part was removed.
    /// @return the options with which to attach it again, or nullopt if there is none
    static Result<std::optional<AttachOptions>> broken(const std::string& device);
    using Change = std::function<Result<void>(Policy&)>;
    /// Changes the policy of a device while it is in use. Errors: those of open() and of `change`;
    /// io, usage.
    static Result<void> set(const std::string& device, const Change& change,
                            std::optional<std::uint64_t> link_bytes_per_s);
    /// The devices of this network namespace that have a policy.
    static Result<std::vector<std::string>> devices();

    [[nodiscard]] const State& state() const { return state_; }
    /// The state of the program and of the NIC. Takes several system calls and netlink requests.
    [[nodiscard]] Result<Status> status() const;
    /// The counters alone. Takes one system call per class.
    [[nodiscard]] Result<Counters> counters() const;
    /// Ends a use. Removes the attachment if it was not made to stay and nobody else uses it.
    Result<void> leave();

  private:
    Attachment(Pins pins, State state) : pins_(std::move(pins)), state_(std::move(state)) {}
    static Result<std::optional<Attachment>> try_attach(const AttachOptions& options);
    using Joined = std::optional<Attachment>;  ///< nullopt if there is nothing to join
    /// @return nullopt if another process is using the attachment; try again
    static Result<std::optional<Joined>> try_join(const std::string& device);
    Result<void> find_maps();

    Pins pins_;
    State state_;
    UniqueFd config_;
    UniqueFd stats_;
    UniqueFd rates_;  ///< not set if the program does not report rates
};

/// Removes a device's attachment, or what a killed gcctl left of one, and restores the qdisc.
/// Errors: unsupported, if there is none, or it is in use and `force` is not set; io.
Result<void> detach(const std::string& device, bool force);

/// Removes all attachments of this namespace, and leftovers of devices and namespaces that no
/// longer exist. @return the names of the devices. Errors: those of detach(), after handling the
/// rest.
Result<std::vector<std::string>> detach_all(bool force);

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
// A policy on a NIC: a tc program, its maps, and the qdisc that holds its packets back. All of it
// lives in the kernel, pinned below one directory, and outlives the process that attached it.
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
    std::optional<std::uint64_t> link;   ///< bytes per second, over what the policy and the NIC say
    std::string object;                  ///< a file; empty: gcctl's own program
    bool lasting = true;                 ///< stays when its last user ends
    std::string link_option = "--link";  ///< what sets `link`, for who must be told to
};

using Counters = std::array<gc_class_stats, GC_COUNTERS>;  ///< of all CPUs together

struct Status {
    std::string device;
    Policy policy;
    std::string object;      ///< "gcctl's own", or a file
    std::string hook;        ///< "tcx" or "clsact"
    std::string missing;     ///< what somebody took away: "fq"; empty: nothing
    std::string before;      ///< others' filters that see packets first: "bpf of priority 1"
    std::uint64_t link = 0;  ///< bytes per second
    bool lasting = true;
    gc_policy_config config{};
    Counters counters{};
    std::optional<std::array<std::uint64_t, GC_COUNTERS>>
        rates;  ///< the program's own, if it tells

    /// What whoever attaches or joins it should know; empty: nothing.
    [[nodiscard]] std::string warning() const;
};

/// One that exists.
class Attachment {
  public:
    /// Attaches, or changes nothing. What a killed gcctl left on the NIC is removed first.
    /// Errors: unsupported (no CAP_BPF, no fq, no BPF file system, a qdisc in the way, an object
    /// that is none or that the verifier refuses; one is attached already), usage, io.
    static Result<Attachment> attach(const AttachOptions& options);
    /// Errors: unsupported when there is none on the device.
    static Result<Attachment> open(const std::string& device);
    /// Becomes a user of one that is there, as one who attaches is from the start.
    /// @return none: there is none, or only what a killed gcctl left, or one that is broken()
    /// Errors: io, if somebody is about to attach or detach for too long; unsupported, if somebody
    /// took away a part of it and others use it.
    static Result<std::optional<Attachment>> join(const std::string& device);
    /// @return what attaches again, in place of its remains, one that was attached to stay, and of
    /// which somebody has taken away a part; none: there is none such
    static Result<std::optional<AttachOptions>> broken(const std::string& device);
    using Change = std::function<Result<void>(Policy&)>;
    /// Changes the policy that runs on a device. Errors: those of open() and of `change`; io,
    /// usage.
    static Result<void> set(const std::string& device, const Change& change,
                            std::optional<std::uint64_t> link);
    /// The devices that have one, of this network namespace.
    static Result<std::vector<std::string>> devices();

    [[nodiscard]] const State& state() const { return state_; }
    /// Of the program and the NIC: some system calls and netlink requests.
    [[nodiscard]] Result<Status> status() const;
    /// One system call a class.
    [[nodiscard]] Result<Counters> counters() const;
    /// Ends a use; removes it all if nobody else uses it and it was not attached to stay.
    Result<void> leave();

  private:
    Attachment(Pins pins, State state) : pins_(std::move(pins)), state_(std::move(state)) {}
    static Result<std::optional<Attachment>> try_attach(const AttachOptions& options);
    using Joined = std::optional<Attachment>;  ///< none: there is nothing to join
    /// @return none: not yet
    static Result<std::optional<Joined>> try_join(const std::string& device);
    Result<void> find_maps();

    Pins pins_;
    State state_;
    UniqueFd config_;
    UniqueFd stats_;
    UniqueFd rates_;  ///< none if the program does not tell them
};

/// Removes a device's attachment, and puts back what was there; or what a killed gcctl left of one.
/// Errors: unsupported: there is none, or it is in use (unless by force); io.
Result<void> detach(const std::string& device, bool force);

/// Removes every attachment of this namespace, and what is left of devices and namespaces that are
/// gone. @return the names of the devices. Errors: those of detach(), after the rest.
Result<std::vector<std::string>> detach_all(bool force);

}  // namespace gc::policy

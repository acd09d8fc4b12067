// SPDX-License-Identifier: GPL-2.0-or-later
// A migration's use of a NIC's policy. Joins the attached policy, or attaches one that is removed
// with its last user.
#pragma once

#include "policy/attachment.h"

#include <memory>

namespace gc::policy {

class PolicyLease {
  public:
    struct Request {
        std::string policy;                             ///< a name or a file
        std::optional<std::string> device;              ///< the NIC towards the peer if not set
        std::optional<std::uint64_t> link_bytes_per_s;  ///< ignored when joining
        std::string object;  ///< a file; empty for gcctl's own program. Ignored when joining
        int peer = -1;       ///< a connected TCP socket
    };
    /// Errors: those of Attachment::attach(); unsupported, if the NIC is not found; usage, if the
    /// object is no policy. Takes up to some seconds.
    static Result<PolicyLease> begin(const Request& request);
    /// Joins the policy of the NIC towards a peer, if it has one.
    /// @param peer a connected TCP socket
    /// @return nullopt if there is none, or this process may not look
    /// Errors: those of Attachment::join().
    static Result<std::optional<PolicyLease>> join(int peer);
    PolicyLease(PolicyLease&&) = default;
    PolicyLease& operator=(PolicyLease&&) = default;
    PolicyLease(const PolicyLease&) = delete;
    PolicyLease& operator=(const PolicyLease&) = delete;
    ~PolicyLease();
    /// Ends the lease, once. Detaches the policy if it was not attached to stay and nobody else
    /// uses it.
    Result<void> end();

    [[nodiscard]] const std::string& device() const { return device_; }
    [[nodiscard]] const std::string& policy_name() const { return policy_name_; }
    /// The file of its program; empty for gcctl's own.
    [[nodiscard]] const std::string& object() const { return object_; }
    /// Whether the policy was attached before, or was restored.
    [[nodiscard]] bool joined() const { return joined_; }
    /// The value of SO_MARK for the sockets of a class.
    [[nodiscard]] std::uint32_t mark(gc_class of) const { return mark_ + of; }
    /// Errors: io; unsupported after end().
    [[nodiscard]] Result<Status> status() const;
    /// The counters alone; cheaper than status().
    [[nodiscard]] Result<Counters> counters() const;

  private:
    [[nodiscard]] Unexpected ended() const;
    PolicyLease(Attachment attachment, bool joined);

    std::unique_ptr<Attachment> attachment_;  ///< null after end()
    std::string device_;
    std::string policy_name_;
    std::string object_;
    std::uint32_t mark_;
    bool joined_;
};

}  // namespace gc::policy

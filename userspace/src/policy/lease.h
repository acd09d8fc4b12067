// SPDX-License-Identifier: GPL-2.0-or-later
// A migration's use of a NIC's policy: joins the one that is attached, or attaches one that goes
// with its last user.
#pragma once

#include "policy/attachment.h"

#include <memory>

namespace gc::policy {

class PolicyLease {
  public:
    struct Request {
        std::string policy;                 ///< a name or a file
        std::optional<std::string> device;  ///< none: the NIC towards the peer
        std::optional<std::uint64_t> link;  ///< bytes per second; heeded by who attaches
        int peer = -1;                      ///< a connected TCP socket
    };
    /// Errors: those of Attachment::attach(), and of finding the NIC (unsupported); within some
    /// seconds.
    static Result<PolicyLease> begin(const Request& request);
    PolicyLease(PolicyLease&&) = default;
    PolicyLease& operator=(PolicyLease&&) = default;
    PolicyLease(const PolicyLease&) = delete;
    PolicyLease& operator=(const PolicyLease&) = delete;
    ~PolicyLease();
    /// Detaches, if nobody else uses it and it was not attached to stay. Once.
    Result<void> end();

    [[nodiscard]] const std::string& device() const { return device_; }
    [[nodiscard]] const std::string& policy_name() const { return policy_name_; }
    /// It was there before, or was put back.
    [[nodiscard]] bool joined() const { return joined_; }
    /// To be set as SO_MARK on the sockets of a class.
    [[nodiscard]] std::uint32_t mark(gc_class of) const { return mark_ + of; }
    /// Errors: io; unsupported after end().
    [[nodiscard]] Result<Status> status() const;
    /// The same, only the counters, and cheap.
    [[nodiscard]] Result<Counters> counters() const;

  private:
    [[nodiscard]] Unexpected ended() const;
    PolicyLease(Attachment attachment, bool joined);

    std::unique_ptr<Attachment> attachment_;  ///< none after end()
    std::string device_;
    std::string policy_name_;
    std::uint32_t mark_;
    bool joined_;
};

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/lease.h"

#include "net/links.h"
#include "policy/object.h"

namespace gc::policy {
namespace {

/// @param named by the user; else the NIC towards the peer
Result<std::string> choose_device(const std::optional<std::string>& named, int peer) {
    GC_TRY(net::Netlink netlink, net::Netlink::open());
    GC_TRY(const net::Links links, net::links(netlink));
    if (named) {
        GC_TRY(const net::Link said, net::find_link(links, *named));
        return said.name;
    }
    GC_TRY(const int index, net::link_towards_peer(netlink, peer));
    const net::Link* by = net::find_link(links, index);
    if (by == nullptr)
        return fail(ErrorKind::unsupported,
                    "the NIC towards the peer (index {}) has disappeared; name the NIC with "
                    "--policy-dev NIC",
                    index);
    GC_TRY(const net::Link wire, net::wire_of(links, *by));
    return wire.name;
}

/// A file that the user named is the user's error, not a reason to migrate without a policy.
Result<void> check_object(const std::string& path) {
    if (path.empty())
        return {};
    if (const auto object = Object::open(path); !object)
        return fail(ErrorKind::usage, "--policy-object: {}", object.error().message);
    return {};
}

}  // namespace

PolicyLease::PolicyLease(Attachment attachment, bool joined)
    : attachment_(std::make_unique<Attachment>(std::move(attachment))),
      device_(attachment_->state().device), policy_name_(attachment_->state().policy.name),
      object_(attachment_->state().object), mark_(attachment_->state().policy.mark),
      joined_(joined) {}

PolicyLease::~PolicyLease() {
    // Callers that need the result have called end().
    static_cast<void>(end());
}

Result<PolicyLease> PolicyLease::begin(const Request& request) {
    GC_CHECK(check_object(request.object));
    GC_TRY(const std::string device, choose_device(request.device, request.peer));
    AttachOptions options{.device = device,
                          .policy = {},
                          .link_bytes_per_s = request.link_bytes_per_s,
                          .object = request.object,
                          .lasting = false,
                          .link_option = "--policy-link"};
    GC_TRY(options.policy, Policy::find(request.policy));
    // Another migration may attach a policy between join() and our own attempt.
    for (int attempt = 0;; ++attempt) {
        GC_TRY(auto there, Attachment::join(device));
        if (there)
            return PolicyLease(std::move(*there), true);
        GC_TRY(const auto broken, Attachment::broken(device));
        auto made = Attachment::attach(broken.value_or(options));
        if (made)
            return PolicyLease(std::move(*made), broken.has_value());
        if (attempt < 1 && Attachment::open(device))
            continue;
        if (!broken)
            return Unexpected(made.error());
        return fail(ErrorKind::unsupported,
                    "a part of the policy '{}' on {} was removed, and restoring it failed: {}",
                    broken->policy.name, device, made.error().message);
    }
}

Result<std::optional<PolicyLease>> PolicyLease::join(int peer) {
    const auto device = choose_device(std::nullopt, peer);
    if (!device)
        return std::nullopt;  // such as the loopback, which has no policies
    auto there = Attachment::join(*device);
    if (!there && (there.error().error_number == EACCES || there.error().error_number == EPERM))
        return std::nullopt;
    if (!there)
        return Unexpected(there.error());
    return *there ? std::optional(PolicyLease(std::move(**there), true)) : std::nullopt;
}

Result<void> PolicyLease::end() {
    if (!attachment_)
        return {};
    const std::unique_ptr<Attachment> ending = std::move(attachment_);
    return ending->leave();
}

Unexpected PolicyLease::ended() const {
    return fail(ErrorKind::unsupported, "the lease of the policy on {} has ended", device_);
}

Result<Status> PolicyLease::status() const {
    if (!attachment_)
        return ended();
    return attachment_->status();
}

Result<Counters> PolicyLease::counters() const {
    if (!attachment_)
        return ended();
    return attachment_->counters();
}

}  // namespace gc::policy

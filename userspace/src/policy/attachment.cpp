// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/attachment.h"

#include "policy/install.h"
#include "policy/turn.h"

#include <bpf/bpf.h>
#include <cerrno>
#include <net/if.h>

namespace gc::policy {
namespace {

/// @param option the option that sets the link's rate
Result<std::uint64_t> link_rate(const std::string& device, const Policy& policy,
                                std::optional<std::uint64_t> said, std::string_view option) {
    if (said)
        return *said;
    if (policy.link_bytes_per_s)
        return *policy.link_bytes_per_s;
    if (const auto speed = net::speed_of(device))
        return *speed;
    return fail(ErrorKind::unsupported,
                "{0} does not report its speed (ethtool {0}); give {1} RATE, e.g. {1} 10gbit",
                device, option);
}

bool device_gone(const State& state) {
    std::array<char, IF_NAMESIZE> name{};
    return ::if_indextoname(static_cast<unsigned>(state.ifindex), name.data()) == nullptr ||
           state.device != name.data();
}

/// Whether an unused attachment is a leftover: not attached to stay, or no longer working.
Result<bool> is_leftover(const Pins& pins, const State& state) {
    if (!state.complete || !state.lasting || device_gone(state))
        return true;
    GC_TRY(const std::string missing, find_missing(pins, state));
    return !missing.empty();
}

/// Checks a policy that others use. Errors: unsupported, if it no longer works.
Result<void> check_used(const Pins& pins, const State& state) {
    GC_TRY(const std::string missing, find_missing(pins, state));
    if (missing.empty())
        return {};
    return fail(
        ErrorKind::unsupported,
        "the policy '{0}' on {1} no longer works (missing: {2}), but other migrations use it; wait "
        "until they end, or run gcctl policy detach --dev {1} --force (they continue unshaped)",
        state.policy.name, state.device, missing);
}

}  // namespace

Result<void> Attachment::find_maps() {
    config_ = pins_.get("gc_config");
    stats_ = pins_.get("gc_stats");
    rates_ = pins_.get("gc_rates");
    if (!config_ || !stats_)
        return fail(ErrorKind::io, "{}: the policy's maps are missing: {}", state_.device,
                    pins_.path());
    return {};
}

namespace {

/// Creates the device's directory and locks it. Removes what a killed gcctl left there.
/// @return nullopt if another process is using the directory; try again. Errors: unsupported, if
/// the device has a policy
Result<std::optional<Pins>> claim(const std::string& device) {
    GC_TRY(Pins pins, Pins::make(device));
    GC_TRY(const bool locked, pins.try_lock(Pins::Lock::exclusive));
    if (locked && !pins.current())
        return std::nullopt;
    GC_TRY(const auto there, load_state(pins));
    if (!locked) {
        // A process that checks for users holds the lock briefly. Users share their lock.
        GC_TRY(const bool in_use, pins.try_lock(Pins::Lock::shared));
        if (!in_use || !there || !there->complete)
            return std::nullopt;
    }
    bool leftover = !there;
    if (locked && there) {
        GC_TRY(leftover, is_leftover(pins, *there));
    }
    if (!leftover)
        return fail(ErrorKind::unsupported,
                    "{} already has the policy '{}'; change it with gcctl policy set, or remove it "
                    "with gcctl policy detach",
                    device, there->policy.name);
    // This removes the directory, and with it the lock.
    GC_CHECK(uninstall(pins, there));
    GC_TRY(Pins own, Pins::make(device));
    GC_TRY(const bool ours, own.try_lock(Pins::Lock::exclusive));
    if (!ours || !own.current())
        return std::nullopt;
    return own;
}

/// Installs a policy. After an error, nothing leftover in place.
Result<void> install_or_undo(net::Netlink& netlink, Pins& pins, State& state, Object& object) {
    const auto installed = [&]() -> Result<void> {
        GC_TRY(state.queue, plan_queue(netlink, state.device, state.ifindex));
        return install(netlink, pins, state, object);
    }();
    if (installed)
        return {};
    GC_TRY(const auto saved, load_state(pins));
    if (const auto undone = uninstall(pins, saved); !undone)
        return fail(installed.error().kind, "{} (and undoing it failed: {})",
                    installed.error().message, undone.error().message);
    return Unexpected(installed.error());
}

}  // namespace

Result<std::optional<Attachment>> Attachment::try_attach(const AttachOptions& options) {
    GC_TRY(net::Netlink netlink, net::Netlink::open());
    GC_TRY(const net::Links links, net::links(netlink));
    GC_TRY(const net::Link link, net::find_link(links, options.device));
    GC_CHECK(net::check_wire(link));
    State state;
    state.ifindex = link.index;
    state.device = link.name;
    state.object = options.object;
    state.lasting = options.lasting;
    state.link_override = options.link_bytes_per_s;
    state.policy = options.policy;
    GC_TRY(state.link_bytes_per_s,
           link_rate(link.name, options.policy, options.link_bytes_per_s, options.link_option));
    GC_CHECK(options.policy.config(state.link_bytes_per_s));
    GC_TRY(Object object, Object::open(options.object));
    GC_TRY(const auto turn, Pins::try_turn());
    if (!turn)
        return std::nullopt;
    GC_TRY(auto pins, claim(link.name));
    if (!pins)
        return std::nullopt;
    GC_CHECK(install_or_undo(netlink, *pins, state, object));
    Attachment made(std::move(*pins), std::move(state));
    GC_CHECK(made.find_maps());
    // Changing a lock releases it for a moment, in which another process may have removed the
    // attachment as a leftover.
    GC_TRY(const bool shared, made.pins_.try_lock(Pins::Lock::shared));
    if (!shared || !made.pins_.current())
        return std::nullopt;
    return made;
}

Result<Attachment> Attachment::attach(const AttachOptions& options) {
    return wait_for<Attachment>(
        options.device, [&]() -> Result<std::optional<Attachment>> { return try_attach(options); });
}

Result<Attachment> Attachment::open(const std::string& device) {
    GC_TRY(auto pins, Pins::find(device));
    if (!pins)
        return no_policy_on(device);
    GC_TRY(auto state, load_state(*pins));
    if (!state || !state->complete || device_gone(*state))
        return no_policy_on(device);
    Attachment found(std::move(*pins), std::move(*state));
    GC_CHECK(found.find_maps());
    return found;
}

Result<std::optional<Attachment::Joined>> Attachment::try_join(const std::string& device) {
    GC_TRY(auto pins, Pins::find(device));
    if (!pins)
        return Joined();
    GC_TRY(const bool alone, pins->try_lock(Pins::Lock::exclusive));
    if (!alone) {
        GC_TRY(const bool shared, pins->try_lock(Pins::Lock::shared));
        if (!shared)
            return std::nullopt;
    }
    GC_TRY(auto state, load_state(*pins));
    if (!state)
        return alone ? std::optional(Joined()) : std::nullopt;
    if (alone) {
        GC_TRY(const bool leftover, is_leftover(*pins, *state));
        if (leftover)
            return Joined();
        GC_TRY(const bool shared, pins->try_lock(Pins::Lock::shared));
        if (!shared)
            return std::nullopt;
    }
    if (!pins->current() || !state->complete)
        return std::nullopt;
    if (!alone)
        GC_CHECK(check_used(*pins, *state));
    Attachment joined(std::move(*pins), std::move(*state));
    GC_CHECK(joined.find_maps());
    return Joined(std::move(joined));
}

Result<std::optional<Attachment>> Attachment::join(const std::string& device) {
    return wait_for<Joined>(device, [&] { return try_join(device); });
}

Result<std::optional<AttachOptions>> Attachment::broken(const std::string& device) {
    GC_TRY(const auto pins, Pins::find(device));
    if (!pins)
        return std::nullopt;
    GC_TRY(const auto state, load_state(*pins));
    if (!state || !state->complete || !state->lasting || device_gone(*state))
        return std::nullopt;
    GC_TRY(const std::string missing, find_missing(*pins, *state));
    if (missing.empty())
        return std::nullopt;
    return AttachOptions{.device = state->device,
                         .policy = state->policy,
                         .link_bytes_per_s = state->link_override,
                         .object = state->object,
                         .lasting = true};
}

Result<std::vector<std::string>> Attachment::devices() {
    GC_TRY(const std::uint64_t netns, own_netns());
    GC_TRY(const auto entries, Pins::all());
    std::vector<std::string> found;
    for (const Pins::Entry& entry : entries)
        if (entry.netns == netns && open(entry.device))
            found.push_back(entry.device);
    return found;
}

Result<void> Attachment::set(const std::string& device, const Change& change,
                             std::optional<std::uint64_t> link_bytes_per_s) {
    GC_TRY(const UniqueFd turn, take_turn(device));
    GC_TRY(Attachment attachment, open(device));
    State state = attachment.state_;
    GC_CHECK(change(state.policy));
    if (const std::uint32_t mark = attachment.state_.policy.mark; state.policy.mark != mark)
        return fail(ErrorKind::usage,
                    "mark: {:#x} is used by the connections of running migrations and cannot "
                    "change to {:#x} while the policy is attached",
                    mark, state.policy.mark);
    if (link_bytes_per_s)
        state.link_override = link_bytes_per_s;
    GC_TRY(state.link_bytes_per_s,
           link_rate(state.device, state.policy, state.link_override, "--link"));
    GC_TRY(const gc_policy_config config, state.policy.config(state.link_bytes_per_s));
    const std::uint32_t zero = 0;
    if (::bpf_map_update_elem(attachment.config_.get(), &zero, &config, BPF_ANY) < 0)
        return fail_errno(errno, "write gc_config");
    return save(attachment.pins_, state);
}

Result<void> Attachment::leave() {
    if (state_.lasting || !pins_.current())
        return {};
    GC_TRY(const UniqueFd turn, take_turn(state_.device));
    GC_TRY(const bool last, pins_.try_lock(Pins::Lock::exclusive));
    if (!last || !pins_.current())
        return {};
    return uninstall(pins_, state_);
}

}  // namespace gc::policy

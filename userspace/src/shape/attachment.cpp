// SPDX-License-Identifier: GPL-2.0-or-later
#include "shape/attachment.h"

#include "shape/install.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <chrono>
#include <net/if.h>
#include <thread>

namespace gc::shape {
namespace {

using std::chrono::milliseconds;

/// For somebody else's attach or detach, which takes a small part of it.
constexpr milliseconds patience(10'000);
constexpr milliseconds look_again(20);

Unexpected too_long(const std::string& device) {
    return fail(ErrorKind::io,
                "{}: another gcctl has been attaching or detaching a policy for {} s", device,
                patience.count() / 1000);
}

/// Tries until it gives something that is not none.
template <typename T, typename Try>
Result<T> wait_for(const std::string& device, const Try& attempt) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    do {
        GC_TRY(auto got, attempt());
        if (got)
            return std::move(*got);
        std::this_thread::sleep_for(look_again);
    } while (std::chrono::steady_clock::now() < deadline);
    return too_long(device);
}

/// @param option the one that says it
Result<std::uint64_t> link_rate(const std::string& device, const Policy& policy,
                                std::optional<std::uint64_t> said, std::string_view option) {
    if (said)
        return *said;
    if (policy.link)
        return *policy.link;
    if (const auto speed = net::speed_of(device))
        return *speed;
    return fail(ErrorKind::unsupported,
                "{0} does not say how fast it is (ethtool {0}); give {1} RATE, such as {1} 10gbit",
                device, option);
}

Unexpected none_on(const std::string& device) {
    return fail(ErrorKind::unsupported,
                "there is no policy on {}; gcctl policy attach --dev {} attaches one", device,
                device);
}

bool device_gone(const State& state) {
    std::array<char, IF_NAMESIZE> name{};
    return ::if_indextoname(static_cast<unsigned>(state.ifindex), name.data()) == nullptr ||
           state.device != name.data();
}

/// What nobody uses and nobody asked to stay.
bool is_remains(const State& state) {
    return !state.complete || !state.lasting || device_gone(state);
}

template <typename T> Result<T> read_map(const UniqueFd& map, std::uint32_t key) {
    T value{};
    if (::bpf_map_lookup_elem(map.get(), &key, &value) < 0)
        return fail_errno(errno, "read a map of the policy");
    return value;
}

Result<Counters> read_counters(const UniqueFd& map) {
    Counters sum{};
    std::vector<gc_class_stats> cpus(static_cast<std::size_t>(::libbpf_num_possible_cpus()));
    for (std::uint32_t index = 0; index < GC_COUNTERS; ++index) {
        if (::bpf_map_lookup_elem(map.get(), &index, cpus.data()) < 0)
            return fail_errno(errno, "read gc_stats");
        for (const gc_class_stats& cpu : cpus) {
            sum[index].packets += cpu.packets;
            sum[index].bytes += cpu.bytes;
            sum[index].drops += cpu.drops;
            sum[index].delayed += cpu.delayed;
            sum[index].delay_ns += cpu.delay_ns;
            sum[index].delay_max_ns = std::max(sum[index].delay_max_ns, cpu.delay_max_ns);
        }
    }
    return sum;
}

}  // namespace

Result<void> Attachment::find_maps() {
    config_ = pins_.get("gc_config");
    stats_ = pins_.get("gc_stats");
    rates_ = pins_.get("gc_rates");
    if (!config_ || !stats_)
        return fail(ErrorKind::io, "{}: the policy's maps are gone: {}", state_.device,
                    pins_.path());
    return {};
}

namespace {

/// The device's directory, empty and locked. What a killed gcctl left is removed.
/// @return none: somebody else is at it; to be tried again. Errors: unsupported: it has a policy
Result<std::optional<Pins>> claim(const std::string& device) {
    GC_TRY(Pins pins, Pins::make(device));
    GC_TRY(const bool locked, pins.try_lock(Pins::Lock::exclusive));
    if (locked && !pins.current())
        return std::nullopt;
    GC_TRY(const auto there, load_state(pins));
    if (!locked && (!there || !there->complete))
        return std::nullopt;
    if (there && (!locked || !is_remains(*there)))
        return fail(ErrorKind::unsupported,
                    "{} has the policy '{}' already; gcctl policy set changes it, gcctl policy "
                    "detach removes it",
                    device, there->policy.name);
    // That takes the directory along, and with it the lock.
    GC_CHECK(uninstall(pins, there));
    GC_TRY(Pins own, Pins::make(device));
    GC_TRY(const bool ours, own.try_lock(Pins::Lock::exclusive));
    if (!ours || !own.current())
        return std::nullopt;
    return own;
}

/// Nothing is in place after an error.
Result<void> install_or_undo(net::Netlink& netlink, Pins& pins, State& state, Object& object) {
    const auto installed = [&]() -> Result<void> {
        GC_TRY(state.queue, plan_queue(netlink, state.device, state.ifindex));
        return install(netlink, pins, state, object);
    }();
    if (installed)
        return {};
    GC_TRY(const auto saved, load_state(pins));
    if (const auto undone = uninstall(pins, saved); !undone)
        return fail(installed.error().kind, "{} (and it could not be undone: {})",
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
    state.said_link = options.link;
    state.policy = options.policy;
    GC_TRY(state.link, link_rate(link.name, options.policy, options.link, options.link_option));
    GC_CHECK(options.policy.config(state.link));
    GC_TRY(Object object, Object::open(options.object));
    GC_TRY(auto pins, claim(link.name));
    if (!pins)
        return std::nullopt;
    GC_CHECK(install_or_undo(netlink, *pins, state, object));
    Attachment made(std::move(*pins), std::move(state));
    GC_CHECK(made.find_maps());
    // A lock that is changed is let go for a moment, in which somebody may have taken it for
    // remains of ours.
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
        return none_on(device);
    GC_TRY(auto state, load_state(*pins));
    if (!state || !state->complete || device_gone(*state))
        return none_on(device);
    Attachment found(std::move(*pins), std::move(*state));
    GC_CHECK(found.find_maps());
    return found;
}

Result<std::optional<Attachment>> Attachment::join(const std::string& device) {
    // The inner none: there is nothing to join. The outer: not yet.
    using Joined = std::optional<Attachment>;
    return wait_for<Joined>(device, [&]() -> Result<std::optional<Joined>> {
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
        if (!state || (alone && is_remains(*state)))
            return alone ? std::optional(Joined()) : std::nullopt;
        if (alone) {
            GC_TRY(const bool shared, pins->try_lock(Pins::Lock::shared));
            if (!shared)
                return std::nullopt;
        }
        if (!pins->current() || !state->complete)
            return std::nullopt;
        Attachment joined(std::move(*pins), std::move(*state));
        GC_CHECK(joined.find_maps());
        return Joined(std::move(joined));
    });
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

Result<Counters> Attachment::counters() const {
    return read_counters(stats_);
}

Result<Status> Attachment::status() const {
    Status status;
    status.device = state_.device;
    status.policy = state_.policy.name;
    status.object = state_.object.empty() ? "gcctl's own" : state_.object;
    status.hook = state_.hook;
    status.in_place = in_place(pins_, state_);
    status.link = state_.link;
    status.lasting = state_.lasting;
    GC_TRY(status.config, read_map<gc_policy_config>(config_, 0));
    GC_TRY(status.counters, counters());
    if (rates_) {
        status.rates.emplace();
        for (std::uint32_t index = 0; index < GC_COUNTERS; ++index) {
            GC_TRY((*status.rates)[index], read_map<std::uint64_t>(rates_, index));
        }
    }
    return status;
}

Result<void> Attachment::set(const Policy& policy, std::optional<std::uint64_t> link) {
    if (policy.mark != state_.policy.mark)
        return fail(ErrorKind::usage,
                    "mark: {:#x} is in use by the connections of running migrations; it cannot "
                    "become {:#x} while the policy is attached",
                    state_.policy.mark, policy.mark);
    State state = state_;
    state.policy = policy;
    if (link)
        state.said_link = link;
    GC_TRY(state.link, link_rate(state.device, policy, state.said_link, "--link"));
    GC_TRY(const gc_policy_config config, policy.config(state.link));
    const std::uint32_t zero = 0;
    if (::bpf_map_update_elem(config_.get(), &zero, &config, BPF_ANY) < 0)
        return fail_errno(errno, "write gc_config");
    GC_CHECK(save(pins_, state));
    state_ = std::move(state);
    return {};
}

Result<void> Attachment::leave() {
    if (state_.lasting)
        return {};
    GC_TRY(const bool last, pins_.try_lock(Pins::Lock::exclusive));
    if (!last || !pins_.current())
        return {};
    return uninstall(pins_, state_);
}

namespace {

/// @return false: it is of another namespace, which lives
Result<bool> remove_entry(const Pins::Entry& entry, bool own, bool force) {
    if (!own && netns_exists(entry.netns))
        return false;
    GC_TRY(auto pins, Pins::open(entry));
    if (!pins)
        return true;
    GC_TRY(const bool alone, pins->try_lock(Pins::Lock::exclusive));
    if (!alone && !force)
        return fail(ErrorKind::unsupported,
                    "a migration uses the policy on {}; wait for its end, or detach with --force "
                    "(it goes on unshaped)",
                    entry.device);
    GC_TRY(const auto state, load_state(*pins));
    // A namespace can live without a process or a mount that we see; its devices tell.
    if (!own && state && state->hook == "tcx" && in_place(*pins, *state))
        return false;
    // The index of a device of another namespace is some other device's in this one.
    GC_CHECK(uninstall(*pins, own ? state : std::nullopt));
    return true;
}

}  // namespace

Result<void> detach(const std::string& device, bool force) {
    GC_TRY(const std::uint64_t netns, own_netns());
    GC_TRY(const auto entries, Pins::all());
    for (const Pins::Entry& entry : entries)
        if (entry.netns == netns && entry.device == device)
            return remove_entry(entry, true, force).map([](bool) {});
    return none_on(device);
}

Result<std::vector<std::string>> detach_all(bool force) {
    GC_TRY(const std::uint64_t netns, own_netns());
    GC_TRY(const auto entries, Pins::all());
    std::vector<std::string> removed;
    std::optional<Error> failed;
    for (const Pins::Entry& entry : entries) {
        const auto done = remove_entry(entry, entry.netns == netns, force);
        if (done && *done)
            removed.push_back(entry.device);
        else if (!done && !failed)
            failed = done.error();
    }
    if (failed)
        return Unexpected(*failed);
    return removed;
}

}  // namespace gc::shape

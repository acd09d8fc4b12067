// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/install.h"

#include "policy/hook.h"

#include <array>
#include <bpf/bpf.h>
#include <cerrno>

namespace gc::policy {
namespace {

constexpr const char* program_pin = "program";
constexpr const char* link_pin = "link";

Result<void> pin_all(Pins& pins, const Object& object) {
    GC_CHECK(pins.pin(object.program(), program_pin));
    for (const char* name : {"gc_config", "gc_stats", "gc_rates"})
        if (const int map = object.map(name); map >= 0)
            GC_CHECK(pins.pin(map, name));
    return {};
}

Result<void> attach_program(net::Netlink& netlink, Pins& pins, State& state, const Object& object) {
    GC_TRY(const auto tcx, attach_tcx(object.program(), state.ifindex));
    if (tcx) {
        GC_CHECK(pins.pin(tcx->fd.get(), link_pin));
        state.hook = "tcx";
        return {};
    }
    GC_TRY(const bool there, has_clsact(netlink, state.ifindex));
    state.own_clsact = !there;
    state.hook = "clsact";
    GC_CHECK(save(pins, state));
    return attach_clsact(object.program(), state.ifindex);
}

}  // namespace

Result<void> install(net::Netlink& netlink, Pins& pins, State& state, Object& object) {
    GC_CHECK(object.load());
    GC_TRY(const gc_policy_config config, state.policy.config(state.link_bytes_per_s));
    const std::uint32_t zero = 0;
    if (::bpf_map_update_elem(object.map("gc_config"), &zero, &config, BPF_ANY) < 0)
        return fail_errno(errno, "write gc_config");
    GC_CHECK(save(pins, state));
    GC_CHECK(pin_all(pins, object));
    GC_CHECK(apply(netlink, state.ifindex, state.queue));
    GC_CHECK(attach_program(netlink, pins, state, object));
    state.complete = true;
    return save(pins, state);
}

Result<void> uninstall(Pins& pins, const std::optional<State>& state) {
    if (const UniqueFd link = pins.get(link_pin)) {
        // Detach it even if another process has it open.
        ::bpf_link_detach(link.get());
        GC_CHECK(pins.unpin(link_pin));
    }
    if (state) {
        // A device that no longer exists took its qdiscs with it, and a new one may have its name.
        GC_TRY(const bool there, net::link_exists(state->ifindex));
        if (there) {
            GC_TRY(net::Netlink netlink, net::Netlink::open());
            const UniqueFd program = pins.get(program_pin);
            if (state->hook == "clsact")
                GC_CHECK(detach_clsact(netlink, program.get(), state->ifindex, state->own_clsact));
            GC_CHECK(restore(netlink, state->ifindex, state->queue));
        }
    }
    return pins.remove(State::pin);
}

bool in_place(const Pins& pins, const State& state) {
    if (state.hook == "tcx") {
        const UniqueFd link = pins.get(link_pin);
        return link && tcx_alive(link.get());
    }
    const UniqueFd program = pins.get(program_pin);
    return program && clsact_attached(program.get(), state.ifindex);
}

Result<std::string> find_missing(const Pins& pins, const State& state) {
    GC_TRY(net::Netlink netlink, net::Netlink::open());
    GC_TRY(const auto qdiscs, net::qdiscs(netlink, state.ifindex));
    std::string missing = in_place(pins, state) ? "" : "the tc program";
    if (!has_fq(qdiscs))
        missing += missing.empty() ? "fq" : " and fq";
    return missing;
}

Result<std::string> find_before(const Pins& pins, const State& state) {
    const UniqueFd program = pins.get(program_pin);
    if (state.hook != "clsact" || !program)
        return "";
    GC_TRY(net::Netlink netlink, net::Netlink::open());
    return filters_before(netlink, program.get(), state.ifindex);
}

}  // namespace gc::policy

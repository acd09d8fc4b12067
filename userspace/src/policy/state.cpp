// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/state.h"

#include <bpf/bpf.h>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

namespace gc::policy {
namespace {

using nlohmann::json;

constexpr int version = 1;

template <typename T> json optional_json(const std::optional<T>& value) {
    return value ? json(*value) : json();
}

template <typename T> std::optional<T> optional_of(const json& value) {
    return value.is_null() ? std::nullopt : std::optional(value.get<T>());
}

json to_json(const Rate& rate) {
    return {{"of_link", rate.of_link}, {"bytes", rate.bytes}, {"share", rate.share}};
}

Rate rate_of(const json& from) {
    return {.of_link = from.at("of_link"), .bytes = from.at("bytes"), .share = from.at("share")};
}

json to_json(const Policy& policy) {
    json classes = json::array();
    for (const ClassPolicy& each : policy.classes)
        classes.push_back({{"paced", each.paced},
                           {"weight", each.weight},
                           {"floor", to_json(each.floor)},
                           {"cap", to_json(each.cap)},
                           {"dscp", optional_json(each.dscp)}});
    return {{"name", policy.name},
            {"link", optional_json(policy.link_bytes_per_s)},
            {"use", to_json(policy.use)},
            {"mark", policy.mark},
            {"horizon", policy.horizon.count()},
            {"yield", policy.yield},
            {"window", policy.window.count()},
            {"decay", policy.decay.count()},
            {"headroom", policy.headroom},
            {"classes", classes}};
}

Policy policy_of(const json& from) {
    Policy policy;
    policy.name = from.at("name");
    policy.link_bytes_per_s = optional_of<std::uint64_t>(from.at("link"));
    policy.use = rate_of(from.at("use"));
    policy.mark = from.at("mark");
    policy.horizon = std::chrono::nanoseconds(from.at("horizon"));
    policy.yield = from.at("yield");
    policy.window = std::chrono::nanoseconds(from.at("window"));
    policy.decay = std::chrono::nanoseconds(from.at("decay"));
    policy.headroom = from.at("headroom");
    for (std::size_t index = 0; index < policy.classes.size(); ++index) {
        const json& each = from.at("classes").at(index);
        policy.classes[index] = {.paced = each.at("paced"),
                                 .weight = each.at("weight"),
                                 .floor = rate_of(each.at("floor")),
                                 .cap = rate_of(each.at("cap")),
                                 .dscp = optional_of<std::uint8_t>(each.at("dscp"))};
    }
    return policy;
}

json to_json(const net::Qdisc& qdisc) {
    std::vector<unsigned> options;
    for (const std::byte byte : qdisc.options)
        options.push_back(std::to_integer<unsigned>(byte));
    return {{"kind", qdisc.kind},
            {"handle", qdisc.handle},
            {"parent", qdisc.parent},
            {"options", qdisc.has_options ? json(options) : json()}};
}

net::Qdisc qdisc_of(const json& from) {
    net::Qdisc qdisc;
    qdisc.kind = from.at("kind");
    qdisc.handle = from.at("handle");
    qdisc.parent = from.at("parent");
    qdisc.has_options = !from.at("options").is_null();
    if (qdisc.has_options)
        for (const json& byte : from.at("options"))
            qdisc.options.push_back(static_cast<std::byte>(byte.get<unsigned>()));
    return qdisc;
}

json to_json(const QueuePlan& plan) {
    json children = json::array();
    for (const net::Qdisc& child : plan.children)
        children.push_back(to_json(child));
    return {{"root", plan.root ? to_json(*plan.root) : json()}, {"children", children}};
}

QueuePlan plan_of(const json& from) {
    QueuePlan plan;
    if (!from.at("root").is_null())
        plan.root = qdisc_of(from.at("root"));
    for (const json& child : from.at("children"))
        plan.children.push_back(qdisc_of(child));
    return plan;
}

}  // namespace

std::string to_text(const State& state) {
    return json{{"version", version},
                {"complete", state.complete},
                {"ifindex", state.ifindex},
                {"device", state.device},
                {"hook", state.hook},
                {"object", state.object},
                {"lasting", state.lasting},
                {"own_clsact", state.own_clsact},
                {"link", state.link_bytes_per_s},
                {"said_link", optional_json(state.link_override)},
                {"policy", to_json(state.policy)},
                {"queue", to_json(state.queue)}}
        .dump();
}

Result<State> parse_state(const std::string& text) {
    try {
        const json from = json::parse(text);
        if (from.at("version") != version)
            return fail(ErrorKind::protocol,
                        "expected version {1} of the saved state, found {0}; detach with the gcctl "
                        "that attached the policy",
                        from.at("version").dump(), version);
        State state;
        state.complete = from.at("complete");
        state.ifindex = from.at("ifindex");
        state.device = from.at("device");
        state.hook = from.at("hook");
        state.object = from.at("object");
        state.lasting = from.at("lasting");
        state.own_clsact = from.at("own_clsact");
        state.link_bytes_per_s = from.at("link");
        state.link_override = optional_of<std::uint64_t>(from.at("said_link"));
        state.policy = policy_of(from.at("policy"));
        state.queue = plan_of(from.at("queue"));
        return state;
    } catch (const json::exception& error) {
        return fail(ErrorKind::protocol, "the saved state is malformed: {}", error.what());
    }
}

Result<void> save(Pins& pins, const State& state) {
    constexpr const char* fresh = "state_new";
    // Including the terminating NUL.
    const std::string text = to_text(state);
    const auto size = static_cast<std::uint32_t>(text.size() + 1);
    const UniqueFd map(
        ::bpf_map_create(BPF_MAP_TYPE_ARRAY, "gc_state", sizeof(std::uint32_t), size, 1, nullptr));
    if (!map && errno == EPERM)
        return fail(
            ErrorKind::unsupported,
            "no permission to create a BPF map; run gcctl with sudo (CAP_BPF and CAP_NET_ADMIN)");
    if (!map)
        return fail_errno(errno, "create the map of the saved state");
    const std::uint32_t zero = 0;
    if (::bpf_map_update_elem(map.get(), &zero, text.c_str(), BPF_ANY) < 0)
        return fail_errno(errno, "write the saved state");
    GC_CHECK(pins.unpin(fresh));
    GC_CHECK(pins.pin(map.get(), fresh));
    return pins.rename(fresh, State::pin);
}

Result<std::optional<State>> load_state(const Pins& pins) {
    const UniqueFd map = pins.get(State::pin);
    if (!map && errno == ENOENT)
        return std::nullopt;
    if (!map && errno == EPERM)
        return fail(ErrorKind::unsupported,
                    "no permission to read pinned BPF maps; run gcctl with sudo (CAP_BPF)");
    if (!map)
        return fail_errno(errno, "open " + pins.path() + "/" + State::pin);
    bpf_map_info info{};
    std::uint32_t length = sizeof info;
    if (::bpf_obj_get_info_by_fd(map.get(), &info, &length) < 0)
        return fail_errno(errno, "inspect the saved state");
    std::string text(info.value_size, '\0');
    const std::uint32_t zero = 0;
    if (::bpf_map_lookup_elem(map.get(), &zero, text.data()) < 0)
        return fail_errno(errno, "read the saved state");
    text.resize(::strnlen(text.data(), text.size()));
    GC_TRY(State state, parse_state(text));
    return state;
}

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/policy.h"
#include <fmt/format.h>

#include "builtin_policies.h"
#include "policy/policy_file.h"
#include "policy/policy_key.h"
#include "util/whole_file.h"

#include <algorithm>
#include <cmath>
#include <unistd.h>

namespace gc::policy {
namespace {

/// A policy has a few dozen lines. toml++ creates a table for each dot of a key and frees them
/// recursively, with some 300 bytes of stack each: 64 KiB of "a.a.a." overflow the usual 8 MiB.
constexpr std::size_t max_file = std::size_t{16} * 1024;
/// The largest packet that the stack passes to a NIC for segmentation, without BIG TCP.
constexpr std::uint64_t max_gso = std::uint64_t{64} * 1024;
/// A shorter window sees such packets one by one, and mistakes each for a burst.
constexpr std::uint64_t packets_in_window = 4;
constexpr std::uint64_t ns_per_second = 1'000'000'000;
constexpr std::uint32_t headroom_unit = 1024;  // gc_policy_config::headroom
/// Below this rate a packet takes a minute.
constexpr std::uint64_t min_rate = 1024;

}  // namespace

std::uint64_t Rate::on(std::uint64_t link_bytes_per_s) const {
    return of_link ? static_cast<std::uint64_t>(
                         std::floor(share * static_cast<double>(link_bytes_per_s)))
                   : bytes;
}

Result<Policy> Policy::named(std::string_view name) {
    const auto* found = std::ranges::find(builtin_policies, name, &BuiltinPolicy::name);
    if (found != builtin_policies.end())
        return parse_policy(found->text, std::string(name));
    std::array<std::string_view, builtin_policies.size()> names;
    std::ranges::transform(builtin_policies, names.begin(), &BuiltinPolicy::name);
    return fail(ErrorKind::usage, "unknown policy '{}' (expected {}, or a file)", name,
                fmt::join(names, ", "));
}

Result<Policy> Policy::load(const std::string& path) {
    const auto text = read_whole_file(path, max_file);
    if (!text)
        return fail(ErrorKind::usage, "cannot read policy: {}", text.error().message);
    return parse_policy(*text, path);
}

Result<Policy> Policy::find(const std::string& name_or_path) {
    const bool is_name = std::ranges::find(builtin_policies, std::string_view(name_or_path),
                                           &BuiltinPolicy::name) != builtin_policies.end();
    if (is_name || (name_or_path.find_first_of("./") == std::string::npos &&
                    ::access(name_or_path.c_str(), R_OK) != 0))
        return named(name_or_path);
    return load(name_or_path);
}

Result<void> Policy::set(std::string_view assignment) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string_view::npos)
        return fail(
            ErrorKind::usage,
            "invalid assignment '{}' (expected KEY=VALUE, e.g. class.background.cap=50mbit)",
            assignment);
    Policy changed = *this;
    GC_CHECK(set_key(changed, assignment.substr(0, equals), assignment.substr(equals + 1)));
    GC_CHECK(changed.check());
    *this = std::move(changed);
    return {};
}

Result<void> Policy::check() const {
    const auto above = [](const Rate& floor, const Rate& cap) {
        return floor.of_link == cap.of_link &&
               (floor.of_link ? floor.share > cap.share : floor.bytes > cap.bytes);
    };
    for (unsigned index = 0; index < GC_CLASSES; ++index)
        if (above(classes[index].floor, classes[index].cap))
            return fail(ErrorKind::usage, "class.{}: the floor is above the cap",
                        class_name(index));
    return {};
}

Result<gc_policy_config> Policy::config(std::uint64_t nic_bytes_per_s) const {
    gc_policy_config config{};
    config.version = GC_POLICY_VERSION;
    config.mark = mark;
    config.target = use.on(nic_bytes_per_s);
    if (std::min(config.target, __u64{nic_bytes_per_s}) < min_rate)
        return fail(ErrorKind::usage,
                    "use: expected at least {2} bytes/s for tenants and migrations together, found "
                    "{0} on a link of {1}",
                    config.target, nic_bytes_per_s, min_rate);
    if (config.target > nic_bytes_per_s)
        return fail(ErrorKind::usage, "use: {} bytes/s is more than the link's rate, {}",
                    config.target, nic_bytes_per_s);
    const std::uint64_t big_packets = packets_in_window * max_gso * ns_per_second / nic_bytes_per_s;
    config.window_ns = std::max(static_cast<std::uint64_t>(window.count()), big_packets);
    config.decay_ns =
        std::max<std::uint64_t>(static_cast<std::uint64_t>(decay.count()), config.window_ns);
    config.horizon_ns = static_cast<std::uint64_t>(horizon.count());
    config.headroom = static_cast<std::uint32_t>(std::lround(headroom * headroom_unit));
    config.flags = yield ? GC_YIELD : 0;
    for (unsigned index = 0; index < GC_CLASSES; ++index) {
        const ClassPolicy& from = classes[index];
        gc_class_config& to = config.classes[index];
        to.floor = std::max<std::uint64_t>(from.floor.on(nic_bytes_per_s), min_rate);
        to.cap = from.cap.on(nic_bytes_per_s);
        if (to.floor > to.cap)
            return fail(ErrorKind::usage,
                        "class.{}: the floor, {} bytes/s, is above the cap, {}, on a link of {}",
                        class_name(index), to.floor, to.cap, nic_bytes_per_s);
        to.weight = from.paced ? from.weight : 0;
        to.dscp = from.dscp.value_or(GC_DSCP_KEEP);
    }
    return config;
}

std::string_view class_name(unsigned index) {
    constexpr std::array<std::string_view, GC_CLASSES> names{"urgent", "guide", "warm",
                                                             "background"};
    return names.at(index);
}

}  // namespace gc::policy

// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/policy.h"
#include <fmt/format.h>

#include "builtin_policies.h"
#include "policy/policy_file.h"
#include "policy/policy_key.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>

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

/// Whoever named a file that is none can name another, as with a policy that is none.
Unexpected cannot(std::string_view what, const std::string& path) {
    const int error = errno;
    return fail(ErrorKind::usage, "{} the policy {}: {}", what, path, std::strerror(error));
}

}  // namespace

std::uint64_t Rate::on(std::uint64_t link) const {
    return of_link ? static_cast<std::uint64_t>(std::floor(share * static_cast<double>(link)))
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
    std::ifstream file(path, std::ios::binary);
    if (!file)
        return cannot("open", path);
    std::string text(max_file + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.bad())
        return cannot("read", path);
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() > max_file)
        return fail(ErrorKind::usage, "{} is no policy: it has more than {} bytes", path, max_file);
    return parse_policy(text, path);
}

Result<Policy> Policy::find(const std::string& name_or_path) {
    const bool is_name = std::ranges::find(builtin_policies, std::string_view(name_or_path),
                                           &BuiltinPolicy::name) != builtin_policies.end();
    if (is_name ||
        (name_or_path.find_first_of("./") == std::string::npos && !std::ifstream(name_or_path)))
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

Result<gc_policy_config> Policy::config(std::uint64_t on_link) const {
    gc_policy_config config{};
    config.version = GC_POLICY_VERSION;
    config.mark = mark;
    config.target = use.on(on_link);
    if (std::min(config.target, __u64{on_link}) < min_rate)
        return fail(ErrorKind::usage,
                    "use: expected at least {2} bytes/s for tenants and migrations together, found "
                    "{0} on a link of {1}",
                    config.target, on_link, min_rate);
    if (config.target > on_link)
        return fail(ErrorKind::usage, "use: {} bytes/s is more than the link's rate, {}",
                    config.target, on_link);
    const std::uint64_t big_packets = packets_in_window * max_gso * ns_per_second / on_link;
    config.window_ns = std::max(static_cast<std::uint64_t>(window.count()), big_packets);
    config.decay_ns =
        std::max<std::uint64_t>(static_cast<std::uint64_t>(decay.count()), config.window_ns);
    config.horizon_ns = static_cast<std::uint64_t>(horizon.count());
    config.headroom = static_cast<std::uint32_t>(std::lround(headroom * headroom_unit));
    config.flags = yield ? GC_YIELD : 0;
    for (unsigned index = 0; index < GC_CLASSES; ++index) {
        const ClassPolicy& from = classes[index];
        gc_class_config& to = config.classes[index];
        to.floor = std::max<std::uint64_t>(from.floor.on(on_link), min_rate);
        to.cap = from.cap.on(on_link);
        if (to.floor > to.cap)
            return fail(ErrorKind::usage,
                        "class.{}: the floor, {} bytes/s, is above the cap, {}, on a link of {}",
                        class_name(index), to.floor, to.cap, on_link);
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

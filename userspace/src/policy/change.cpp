// SPDX-License-Identifier: GPL-2.0-or-later
// The commands that make changes: attach, set, detach.
#include "policy/command.h"

#include "options/arguments.h"
#include "options/value.h"
#include "policy/attachment.h"

#include <algorithm>

namespace gc::policy {
namespace {

namespace po = boost::program_options;

options::Manual manual_of(AttachOptions& options, std::string& policy) {
    options::Group group("Options");
    group.add_options()("dev", po::value(&options.device)->required()->value_name("NIC"),
                        "the NIC by which migrations leave")(
        "policy", po::value(&policy)->default_value("silent")->value_name("silent|fast|FILE"),
        "silent: give way to the link's tenants; fast: fill the link; or a policy file")(
        "object", po::value(&options.object)->value_name("FILE"),
        "BPF object with your own tc program; must follow gc_policy.h")(
        "link", options::value(&options.link_bytes_per_s, parse_rate)->value_name("RATE"),
        "rate of the link, e.g. 10gbit (default: the policy's, else the NIC's own)");
    return {.name = "policy attach",
            .synopsis = "--dev NIC [options]",
            .summary = "attach a policy to a NIC until it is detached",
            .description = {},
            .operand = {},
            .groups = {group, options::general_options()},
            .subcommands = {}};
}

Result<std::optional<AttachOptions>> parse_attach(std::span<const std::string> arguments) {
    AttachOptions options;
    std::string policy;
    GC_TRY(const auto values, options::parse(manual_of(options, policy), arguments));
    if (!values)
        return std::nullopt;
    GC_TRY(options.policy, Policy::find(policy));
    return options;
}

Result<void> attach(const AttachOptions& options) {
    GC_TRY(const auto attached, Attachment::attach(options));
    const State& state = attached.state();
    fmt::print("attached policy '{}' to {} ({})\n", state.policy.name, state.device, state.hook);
    GC_TRY(const Status status, attached.status());
    if (const std::string warning = status.warning(); !warning.empty())
        fmt::print(stderr, "gcctl policy attach: warning: {}\n", warning);
    return {};
}

struct SetOptions {
    std::string device;
    std::string policy;
    std::optional<std::uint64_t> link_bytes_per_s;
    std::vector<std::string> assignments;
};

options::Manual manual_of(SetOptions& options) {
    options::Group group("Options");
    group.add_options()("dev", po::value(&options.device)->required()->value_name("NIC"),
                        "the NIC")("policy",
                                   po::value(&options.policy)->value_name("silent|fast|FILE"),
                                   "replace the running policy by this one")(
        "link", options::value(&options.link_bytes_per_s, parse_rate)->value_name("RATE"),
        "rate of the link, e.g. 10gbit");
    return {.name = "policy set",
            .synopsis = "--dev NIC [options] [KEY=VALUE]...",
            .summary = "change a NIC's policy while it is in use",
            .description = "The keys are those of a policy file, such as "
                           "class.background.cap=50mbit.",
            .operand = {},
            .groups = {group, options::general_options()},
            .subcommands = {}};
}

Result<std::optional<SetOptions>> parse_set(std::span<const std::string> arguments) {
    SetOptions options;
    // Anything that is not an option is an assignment. Boost takes operands by option name only.
    std::vector<std::string> others;
    bool value_follows = false;
    for (const std::string& argument : arguments) {
        const bool option = value_follows || argument.starts_with("-");
        (option ? others : options.assignments).push_back(argument);
        value_follows = !value_follows && argument.starts_with("--") && argument != "--help" &&
                        argument.find('=') == std::string::npos;
    }
    GC_TRY(const auto values, options::parse(manual_of(options), others));
    if (!values)
        return std::nullopt;
    if (options.assignments.empty() && options.policy.empty() && !options.link_bytes_per_s)
        return fail(ErrorKind::usage,
                    "expected --policy, --link, or KEY=VALUE, e.g. class.background.cap=50mbit");
    return options;
}

Result<void> set(const SetOptions& options) {
    return Attachment::set(
        options.device,
        [&](Policy& policy) -> Result<void> {
            if (!options.policy.empty()) {
                GC_TRY(policy, Policy::find(options.policy));
            }
            for (const std::string& assignment : options.assignments)
                GC_CHECK(policy.set(assignment));
            return {};
        },
        options.link_bytes_per_s);
}

struct DetachOptions {
    std::string device;
    bool all = false;
    bool force = false;
};

options::Manual manual_of(DetachOptions& options) {
    options::Group group("Options");
    group.add_options()("dev", po::value(&options.device)->value_name("NIC"),
                        "the NIC")("all", po::bool_switch(&options.all),
                                   "detach all policies of this network namespace, and remove "
                                   "leftovers of devices and namespaces that no longer exist")(
        "force", po::bool_switch(&options.force),
        "detach even while a migration uses the policy; it continues unshaped");
    return {.name = "policy detach",
            .synopsis = "--dev NIC | --all [options]",
            .summary = "detach a policy and restore the NIC's qdisc",
            .description = {},
            .operand = {},
            .groups = {group, options::general_options()},
            .subcommands = {}};
}

Result<std::optional<DetachOptions>> parse_detach(std::span<const std::string> arguments) {
    DetachOptions options;
    GC_TRY(const auto values, options::parse(manual_of(options), arguments));
    if (!values)
        return std::nullopt;
    if (options.all == !options.device.empty())
        return fail(ErrorKind::usage, "expected either --dev NIC or --all");
    return options;
}

Result<void> detach_chosen(const DetachOptions& options) {
    if (!options.all)
        return detach(options.device, options.force);
    GC_TRY(const auto removed, detach_all(options.force));
    for (const std::string& device : removed)
        fmt::print("detached {}\n", device);
    return {};
}

}  // namespace

options::Manual attach_manual() {
    static AttachOptions options;
    static std::string policy;
    return manual_of(options, policy);
}

options::Manual set_manual() {
    static SetOptions options;
    return manual_of(options);
}

options::Manual detach_manual() {
    static DetachOptions options;
    return manual_of(options);
}

int attach_command(std::span<const std::string> arguments) {
    return options::run("policy attach", arguments, parse_attach, attach);
}

int set_command(std::span<const std::string> arguments) {
    return options::run("policy set", arguments, parse_set, set);
}

int detach_command(std::span<const std::string> arguments) {
    return options::run("policy detach", arguments, parse_detach, detach_chosen);
}

}  // namespace gc::policy

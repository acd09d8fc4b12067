// SPDX-License-Identifier: GPL-2.0-or-later
// The commands that change something: attach, set, detach.
#include "policy/command.h"

#include "options/arguments.h"
#include "policy/attachment.h"
#include "util/units.h"

#include <algorithm>

namespace gc::policy {
namespace {

namespace po = boost::program_options;

Result<std::optional<std::uint64_t>> parse_link(const std::string& text) {
    if (text.empty())
        return std::nullopt;
    GC_TRY(const std::uint64_t rate, parse_rate(text));
    return rate;
}

Result<std::optional<AttachOptions>> parse_attach(std::span<const std::string> arguments) {
    AttachOptions options;
    std::string policy;
    std::string link;
    po::options_description description("Options");
    description.add_options()("help,h", "show this text")(
        "dev", po::value(&options.device)->required()->value_name("NIC"),
        "the NIC that migrations leave by")(
        "policy", po::value(&policy)->default_value("silent")->value_name("silent|fast|FILE"),
        "silent: tenants of the link go first; fast: fill the link; or a policy file")(
        "object", po::value(&options.object)->value_name("FILE"),
        "a BPF object with a tc program of your own, that keeps to gc_policy.h")(
        "link", po::value(&link)->value_name("RATE"),
        "what the link carries, such as 10gbit (default: the policy's, else what the NIC says)");
    GC_TRY(const auto values,
           options::parse("policy attach", "--dev NIC [options]", arguments, description));
    if (!values)
        return std::nullopt;
    GC_TRY(options.link, parse_link(link));
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
    std::optional<std::uint64_t> link;
    std::vector<std::string> assignments;
};

Result<std::optional<SetOptions>> parse_set(std::span<const std::string> arguments) {
    SetOptions options;
    std::string link;
    po::options_description description("Options");
    description.add_options()("help,h", "show this text")(
        "dev", po::value(&options.device)->required()->value_name("NIC"), "the NIC")(
        "policy", po::value(&options.policy)->value_name("silent|fast|FILE"),
        "another policy in place of the running one")("link", po::value(&link)->value_name("RATE"),
                                                      "what the link carries, such as 10gbit");
    // What is no option is an assignment; Boost takes operands by an option's name only.
    std::vector<std::string> others;
    bool value_follows = false;
    for (const std::string& argument : arguments) {
        const bool option = value_follows || argument.starts_with("-");
        (option ? others : options.assignments).push_back(argument);
        value_follows = !value_follows && argument.starts_with("--") && argument != "--help" &&
                        argument.find('=') == std::string::npos;
    }
    GC_TRY(const auto values,
           options::parse("policy set", "--dev NIC [options] [KEY=VALUE]...", others, description));
    if (!values)
        return std::nullopt;
    GC_TRY(options.link, parse_link(link));
    if (options.assignments.empty() && options.policy.empty() && !options.link)
        return fail(ErrorKind::usage, "nothing to set: give --policy, --link, or KEY=VALUE such as "
                                      "class.background.cap=50mbit");
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
        options.link);
}

struct DetachOptions {
    std::string device;
    bool all = false;
    bool force = false;
};

Result<std::optional<DetachOptions>> parse_detach(std::span<const std::string> arguments) {
    DetachOptions options;
    po::options_description description("Options");
    description.add_options()("help,h", "show this text")(
        "dev", po::value(&options.device)->value_name("NIC"), "the NIC")(
        "all", po::bool_switch(&options.all),
        "all of this network namespace, and what is left of devices and namespaces that are gone")(
        "force", po::bool_switch(&options.force),
        "also where a migration uses it, which goes on unshaped");
    GC_TRY(const auto values,
           options::parse("policy detach", "--dev NIC | --all [options]", arguments, description));
    if (!values)
        return std::nullopt;
    if (options.all == !options.device.empty())
        return fail(ErrorKind::usage, "expected --dev NIC or --all");
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

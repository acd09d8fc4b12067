// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/options.h"

#include "simulate/command.h"

#include "options/arguments.h"
#include "options/value.h"
#include "policy/policy.h"
#include "util/page.h"
#include "util/units.h"

#include <algorithm>
#include <map>

namespace gc::simulate {
namespace {

namespace po = boost::program_options;

constexpr std::uint32_t max_vms = 1000;
constexpr std::uint32_t max_load = 100'000;
constexpr std::uint64_t max_memory = std::uint64_t{1} << 44;  // as for the VM of a trace

/// Options that need more than a type, by name.
using Texts = std::map<std::string, std::string>;

struct TextOption {
    const char* name;
    const char* value;
    const char* fallback;  ///< the default; empty if there is none
    const char* meaning;
};

constexpr TextOption vm_options[] = {
    {"at", "TIME", "0s", "moment of the trace at which the VM switches over"},
    {"memory", "SIZE", "", "memory of the VM (default: the traced VM's)"},
    {"zeros", "SHARE", "0%", "share of the pages that the trace does not name that are zeros"},
};
constexpr TextOption guide_options[] = {
    {"guide", "on|off", "on", "run a guide at the source; off: plain post-copy"},
    {"hold-background", "TIME", "0s",
     "once the VM runs at the destination, send no background pages for this long"},
};
constexpr TextOption network_options[] = {
    {"link", "RATE", "10gbit", "rate of the link, e.g. 25gbit"},
    {"rtt", "TIME", "50us", "round-trip time of the idle path"},
    {"bandwidth", "RATE", "", "limit of each VM for all pages but those that it waits for"},
    {"policy", "NAME|FILE", "silent",
     "how migrations share the link: silent, fast, none, or a policy file"},
    {"tenants", "RATE", "", "what others send on the link"},
    {"queue", "TIME", "10ms", "with --policy none: what the queue in front of the link holds"},
    {"burst", "SIZE", "", "what an idle link carries at once, as a token bucket does"},
    {"stagger", "TIME", "10ms", "with --vms: time between one switch-over and the next"},
};
constexpr TextOption cost_options[] = {
    {"downtime", "TIME", "", "from switch-over until the VM runs (default: from link and costs)"},
    {"fault-cost", "TIME", "20us", "from an access to its request at gcctl"},
    {"serve-cost", "TIME", "30us", "what a request costs at the source"},
    {"install-cost", "TIME", "1.5us", "what placing a page costs at the destination"},
    {"capture-cost", "TIME", "1us", "what a first touch costs the guide"},
    {"load-cost", "TIME", "5ms", "what loading the device state costs guide and destination"},
};

Result<double> parse_speed(std::string_view text) {
    return parse_factor(text, 0.001, 1e6);
}

options::Group group_of(const char* heading, std::span<const TextOption> table, Texts& texts) {
    options::Group group(heading);
    for (const TextOption& option : table) {
        auto* value = po::value(&texts[option.name])->value_name(option.value);
        group.add_options()(option.name,
                            *option.fallback == 0 ? value : value->default_value(option.fallback),
                            option.meaning);
    }
    return group;
}

options::Manual manual_of(Options& options, Texts& texts) {
    options::Group vm = group_of("VM", vm_options, texts);
    vm.add_options()("trace", po::value(&options.trace)->required()->value_name("TRACE"),
                     "a trace of gcctl record --mode order (--trace may be left out)")(
        "vms",
        options::number(&options.scenario.vms, 1U, max_vms)->default_value("1")->value_name("N"),
        "N such VMs leave at once")(
        "load",
        options::number(&options.replay.load, 1U, max_load)->default_value("1")->value_name("N"),
        "each VM does what N traced ones did side by side")(
        "speed",
        options::value(&options.replay.speed, parse_speed)
            ->default_value("1")
            ->value_name("FACTOR"),
        "the VM is FACTOR times as fast as the traced one");
    options::Group guide = group_of("Guide", guide_options, texts);
    guide.add_options()(
        "lead",
        options::number(&options.scenario.lead, 1U)->default_value("4096")->value_name("PAGES"),
        "how far the guide may run ahead: pages that it touched and that are not sent yet");
    options::Group output("Output");
    output.add_options()("report", po::value(&options.report)->value_name("FILE"),
                         "write the report to FILE, as JSON")(
        "json", po::bool_switch(&options.json), "print the report as JSON");
    return {.name = "simulate",
            .synopsis = "TRACE [options]",
            .summary = "replay a trace: predict a migration over a given link",
            .description =
                "Replays a trace against a model of the link and of both hosts, and prints the "
                "report that the migration would have left, marked as simulated. Nothing is moved.",
            .operand = "trace",
            .groups = {vm, guide, group_of("Network", network_options, texts),
                       group_of("Costs", cost_options, texts), output, options::general_options()},
            .subcommands = {}};
}

/// Leaves `into` as it is if the option was not given and has no default.
template <typename Parse, typename T>
Result<void> read(const Texts& texts, const char* name, Parse parse, T& into) {
    if (const std::string& text = texts.at(name); !text.empty()) {
        const auto parsed = parse(text);
        if (!parsed)
            return wrap(parsed.error(), fmt::format("--{}", name));
        into = *parsed;
    }
    return {};
}

Result<void> read_times(const Texts& texts, Options& options) {
    Scenario& scenario = options.scenario;
    Costs& costs = scenario.costs;
    const std::pair<const char*, Duration*> times[] = {
        {"rtt", &scenario.rtt},         {"at", &options.replay.at},
        {"queue", &scenario.queue},     {"hold-background", &scenario.hold_background},
        {"stagger", &scenario.stagger}, {"fault-cost", &costs.fault},
        {"serve-cost", &costs.serve},   {"install-cost", &costs.install},
        {"load-cost", &costs.load},     {"capture-cost", &costs.capture}};
    for (const auto& [name, into] : times)
        GC_CHECK(read(texts, name, parse_short_duration, *into));
    return read(texts, "downtime", parse_short_duration, scenario.downtime);
}

Result<void> read_vm(const Texts& texts, Options& options) {
    if (!texts.at("memory").empty()) {
        GC_CHECK(read(texts, "memory", parse_size, options.replay.memory));
        if (options.replay.memory < page_size)
            return fail(ErrorKind::usage, "--memory is too small (expected at least 4 KiB)");
    }
    GC_CHECK(read(texts, "zeros", parse_percent, options.replay.zeros));
    if (options.replay.zeros > 1)
        return fail(ErrorKind::usage, "--zeros is too large (expected at most 100%)");
    const std::string& guide = texts.at("guide");
    if (guide != "on" && guide != "off")
        return fail(ErrorKind::usage, "invalid --guide '{}' (expected on or off)", guide);
    options.scenario.guide = guide == "on";
    if (options.replay.memory > max_memory)
        return fail(ErrorKind::usage, "--memory is too large (expected at most 16 TiB)");
    return {};
}

/// What the tenants and the policy leave of the link.
Result<void> read_link(const Texts& texts, Options& options) {
    Scenario& scenario = options.scenario;
    std::uint64_t tenants = 0;
    GC_CHECK(read(texts, "link", parse_rate, options.link));
    GC_CHECK(read(texts, "tenants", parse_rate, tenants));
    GC_CHECK(read(texts, "bandwidth", parse_rate, scenario.bandwidth));
    GC_CHECK(read(texts, "burst", parse_size, scenario.burst));
    const auto link = static_cast<double>(options.link), others = static_cast<double>(tenants);
    // Migrations get at least half of the link, whatever the tenants send.
    scenario.link = std::max(link - others, link / 2);
    options.policy = texts.at("policy");
    scenario.by_class = options.policy != "none";
    scenario.guide_rate = scenario.background_rate = scenario.link;
    if (!scenario.by_class)
        return {};
    GC_TRY(const policy::Policy policy, policy::Policy::find(options.policy));
    const double use = static_cast<double>(policy.use.on(options.link));
    const double free = policy.yield ? use - others * (1 + policy.headroom) : use;
    const auto rate = [&](unsigned index) {
        const policy::ClassPolicy& of = policy.classes[index];
        const double min = static_cast<double>(of.floor.on(options.link));
        const double max = std::min(static_cast<double>(of.cap.on(options.link)), scenario.link);
        return of.paced ? std::min(std::max(free, min), max) : scenario.link;
    };
    scenario.guide_rate = rate(GC_GUIDE);
    scenario.background_rate = rate(GC_BACKGROUND);
    if (std::min(scenario.guide_rate, scenario.background_rate) < 1)
        return fail(ErrorKind::usage, "the policy leaves no part of the link to the migration; "
                                      "lower --tenants or choose another "
                                      "--policy");
    return {};
}

}  // namespace

options::Manual manual() {
    static Options options;
    static Texts texts;
    return manual_of(options, texts);
}

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    Texts texts;
    GC_TRY(const auto values, options::parse(manual_of(options, texts), arguments));
    if (!values)
        return std::nullopt;
    GC_CHECK(read_times(texts, options));
    GC_CHECK(read_vm(texts, options));
    GC_CHECK(read_link(texts, options));
    return options;
}

}  // namespace gc::simulate

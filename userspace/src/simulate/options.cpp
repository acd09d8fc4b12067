// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/options.h"

#include "options/arguments.h"
#include "policy/policy.h"
#include "util/page.h"
#include "util/units.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace gc::simulate {
namespace {

namespace po = boost::program_options;

constexpr std::uint32_t most_vms = 1000;
constexpr std::uint32_t most_load = 100'000;
constexpr std::uint64_t most_memory = std::uint64_t{1} << 44;  // as much as a trace's VM may have

/// The options that need more than a type, by their names.
using Texts = std::map<std::string, std::string>;

struct TextOption {
    const char* name;
    const char* value;
    const char* fallback;  ///< empty: none
    const char* what;
};

constexpr TextOption text_options[] = {
    {"link", "RATE", "10gbit", "what the link carries, e.g. 25gbit"},
    {"rtt", "TIME", "50us", "round trip time of the idle path"},
    {"at", "TIME", "0s", "moment of the trace at which the VM switches over"},
    {"memory", "SIZE", "", "of the VM (default: what the traced one had)"},
    {"zeros", "SHARE", "0%", "so much of what the trace does not name are pages of zeros"},
    {"guide", "on|off", "on", "run a guide at the source; without one this is post-copy"},
    {"bandwidth", "RATE", "", "of each VM, limit for all but the pages that it waits for"},
    {"hold-background", "TIME", "0s", "once the VM runs, send only what is asked for or guided to"},
    {"policy", "NAME|FILE", "silent",
     "how migrations share the link: silent, fast, none, or a file"},
    {"tenants", "RATE", "", "what others send on the link"},
    {"queue", "TIME", "10ms", "with --policy none: what the queue before the link holds"},
    {"burst", "SIZE", "", "what the link carries at once when it was idle, as a token bucket does"},
    {"stagger", "TIME", "10ms", "with --vms: between one switch-over and the next"},
    {"downtime", "TIME", "", "from switch-over until the VM runs (default: by link and costs)"},
    {"fault-cost", "TIME", "20us", "from an access to its request at gcctl"},
    {"serve-cost", "TIME", "30us", "what a request meets but the link"},
    {"install-cost", "TIME", "1.5us", "to place a page at the destination"},
    {"capture-cost", "TIME", "1us", "what a first touch costs the guide"},
    {"load-cost", "TIME", "5ms", "QEMU loads the device state, of guide or destination"},
};

po::options_description describe(Options& options, Texts& texts) {
    po::options_description description("Options");
    auto add = description.add_options();
    add("help,h", "show this text");
    add("trace", po::value(&options.trace)->required()->value_name("TRACE"),
        "of gcctl record --mode order");
    for (const TextOption& option : text_options) {
        auto* value = po::value(&texts[option.name])->value_name(option.value);
        add(option.name, *option.fallback == 0 ? value : value->default_value(option.fallback),
            option.what);
    }
    add("lead", po::value(&options.scenario.lead)->default_value(4096)->value_name("PAGES"),
        "how far the guide may run ahead: pages it touched that are not yet sent");
    add("vms", po::value(&options.scenario.vms)->default_value(1)->value_name("N"),
        "so many such VMs leave at once");
    add("load", po::value(&options.replay.load)->default_value(1)->value_name("N"),
        "each VM does what so many of the traced one did, side by side");
    add("speed", po::value(&options.replay.speed)->default_value(1)->value_name("FACTOR"),
        "the VM is so many times as fast as the traced one was");
    add("report", po::value(&options.report)->value_name("FILE"),
        "write the report there, as JSON");
    add("json", po::bool_switch(&options.json), "print the report as JSON");
    return description;
}

Result<void> read_time(const Texts& texts, const char* name, Duration& into) {
    if (const std::string& text = texts.at(name); !text.empty()) {
        const auto parsed = parse_short_duration(text);
        if (!parsed)
            return wrap(parsed.error(), fmt::format("--{}", name));
        into = *parsed;
    }
    return {};
}

Result<void> read_rate(const Texts& texts, const char* name, std::uint64_t& into) {
    if (const std::string& text = texts.at(name); !text.empty()) {
        const auto parsed = parse_rate(text);
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
        GC_CHECK(read_time(texts, name, *into));
    if (!texts.at("downtime").empty())
        GC_CHECK(read_time(texts, "downtime", scenario.downtime.emplace()));
    return {};
}

Result<void> read_vm(const Texts& texts, Options& options) {
    if (!texts.at("memory").empty()) {
        GC_TRY(options.replay.memory, parse_size(texts.at("memory")));
        if (options.replay.memory < page_size)
            return fail(ErrorKind::usage, "--memory takes a page of 4 KiB at least");
    }
    GC_TRY(options.replay.zeros, parse_percent(texts.at("zeros")));
    if (options.replay.zeros > 1)
        return fail(ErrorKind::usage, "--zeros takes 100% at most");
    if (!(options.replay.speed >= 0.001 && options.replay.speed <= 1e6))
        return fail(ErrorKind::usage, "--speed takes 0.001 to 1000000");
    const std::string& guide = texts.at("guide");
    if (guide != "on" && guide != "off")
        return fail(ErrorKind::usage, "--guide takes on or off, not '{}'", guide);
    options.scenario.guide = guide == "on";
    if (options.replay.memory > most_memory)
        return fail(ErrorKind::usage, "--memory takes 16 TiB at most");
    for (const auto& [name, count, most] : {std::tuple("--lead", options.scenario.lead, UINT32_MAX),
                                            std::tuple("--vms", options.scenario.vms, most_vms),
                                            std::tuple("--load", options.replay.load, most_load)})
        if (count == 0 || count > most)
            return fail(ErrorKind::usage, "{} takes 1 to {}", name, most);
    return {};
}

/// What tenants and the policy leave of the link: docs/policy.md.
Result<void> read_link(const Texts& texts, Options& options) {
    Scenario& scenario = options.scenario;
    std::uint64_t tenants = 0;
    GC_CHECK(read_rate(texts, "link", options.link));
    GC_CHECK(read_rate(texts, "tenants", tenants));
    GC_CHECK(read_rate(texts, "bandwidth", scenario.bandwidth));
    if (!texts.at("burst").empty()) {
        GC_TRY(scenario.burst, parse_size(texts.at("burst")));
    }
    const auto link = static_cast<double>(options.link), others = static_cast<double>(tenants);
    // Tenants that want more than half of it share it evenly.
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
        const double least = static_cast<double>(of.floor.on(options.link));
        const double most = std::min(static_cast<double>(of.cap.on(options.link)), scenario.link);
        return of.paced ? std::min(std::max(free, least), most) : scenario.link;
    };
    scenario.guide_rate = rate(GC_GUIDE);
    scenario.background_rate = rate(GC_BACKGROUND);
    if (std::min(scenario.guide_rate, scenario.background_rate) < 1)
        return fail(ErrorKind::usage, "the policy leaves nothing of the link to the migration");
    return {};
}

}  // namespace

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    Texts texts;
    GC_TRY(const auto values, options::parse("simulate", "TRACE [options]", arguments,
                                             describe(options, texts), "trace"));
    if (!values)
        return std::nullopt;
    GC_CHECK(read_times(texts, options));
    GC_CHECK(read_vm(texts, options));
    GC_CHECK(read_link(texts, options));
    return options;
}

}  // namespace gc::simulate

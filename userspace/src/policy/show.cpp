// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/command.h"
#include "policy/render.h"

#include "options/arguments.h"
#include "options/value.h"
#include "util/poll.h"
#include "util/signals.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace gc::policy {
namespace {

namespace po = boost::program_options;
using Clock = std::chrono::steady_clock;

struct Options {
    std::string device;
    std::optional<std::chrono::milliseconds> watch;
    bool json = false;
};

options::Manual manual_of(Options& options) {
    options::Group group("Options");
    group.add_options()("dev", po::value(&options.device)->value_name("NIC"),
                        "the NIC (default: every NIC with a policy)")(
        "watch",
        options::duration(&options.watch, std::chrono::milliseconds(10))
            ->implicit_value("1s")
            ->value_name("INTERVAL"),
        "repeat with the rates of each interval until SIGINT")(
        "json", po::bool_switch(&options.json), "print JSON, one array per line");
    return {.name = "policy show",
            .synopsis = "[options]",
            .summary = "show what is attached and what each class sends",
            .description = {},
            .operand = {},
            .groups = {group, options::general_options()},
            .subcommands = {}};
}

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    GC_TRY(const auto values, options::parse(manual_of(options), arguments));
    if (!values)
        return std::nullopt;
    return options;
}

/// The first rates are measured over this interval.
constexpr std::chrono::milliseconds first_look(200);

struct Last {
    Counters counters{};
    Clock::time_point when;
};
using Readings = std::vector<Reading>;

/// The chosen device, or all devices with a policy, which come and go with migrations.
Result<std::vector<std::string>> devices_of(const Options& options) {
    if (!options.device.empty())
        return std::vector{options.device};
    return Attachment::devices();
}

Result<Readings> look(const Options& options, std::map<std::string, Last>& last) {
    GC_TRY(const auto devices, devices_of(options));
    Readings readings;
    for (const std::string& device : devices) {
        const auto attachment = Attachment::open(device);
        // It was removed since it was listed.
        if (!attachment && options.device.empty())
            continue;
        if (!attachment)
            return Unexpected(attachment.error());
        Reading reading;
        GC_TRY(reading.now, attachment->status());
        const auto when = Clock::now();
        if (const auto before = last.find(device); before != last.end()) {
            reading.before = before->second.counters;
            reading.interval = when - before->second.when;
        }
        last[device] = {reading.now.counters, when};
        readings.push_back(std::move(reading));
    }
    return readings;
}

void print(const Options& options, const Readings& readings) {
    nlohmann::json rows = nlohmann::json::array();
    std::string text;
    for (const Reading& reading : readings)
        if (options.json)
            rows.push_back(render_json(reading));
        else
            text += render_text(reading);
    if (options.json)
        text = rows.dump() + "\n";
    else if (readings.empty())
        text = "no policy is attached in this network namespace\n";
    fmt::print("{}", text);
    std::fflush(stdout);
}

/// @return false if a signal arrived
Result<bool> pause(const Signals& signals, std::chrono::milliseconds time) {
    GC_CHECK(wait_readable(signals.fd(), time));
    return !signals.take();
}

Result<void> show(const Options& options) {
    std::map<std::string, Last> last;
    GC_TRY(const Signals signals, Signals::block());
    GC_TRY(Readings readings, look(options, last));
    auto wait = readings.empty() ? std::chrono::milliseconds(0)
                                 : std::min(first_look, options.watch.value_or(first_look));
    for (;;) {
        GC_TRY(const bool on, pause(signals, wait));
        if (!on)
            return {};
        GC_TRY(readings, look(options, last));
        print(options, readings);
        if (!options.watch)
            return {};
        wait = *options.watch;
    }
}

}  // namespace

options::Manual show_manual() {
    static Options options;
    return manual_of(options);
}

int show_command(std::span<const std::string> arguments) {
    return options::run("policy show", arguments, parse, show);
}

}  // namespace gc::policy

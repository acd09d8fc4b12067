// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command.h"

#include "migrate/migration.h"
#include "options/arguments.h"
#include "util/units.h"

#include <nlohmann/json.hpp>

namespace gc::migrate {
namespace {

namespace po = boost::program_options;

/// The options that need more than a type, as text.
struct Texts {
    std::string to;
    std::string precopy_time;
    std::string guide;
    std::string guide_memory;
    std::string bandwidth;
    std::string policy_device;
    std::string policy_link;
    std::string hold_background;
    std::string guide_wait;
    std::string report;
    bool json = false;
    bool quiet = false;
};

po::options_description describe(Options& options, Texts& texts) {
    po::options_description description("Options");
    description.add_options()("help,h", "show this text")(
        "qmp", po::value(&options.qmp)->required()->value_name("SOCKET"),
        "QMP unix socket of the source QEMU")(
        "to", po::value(&texts.to)->required()->value_name("HOST:PORT"),
        "where 'gcctl receive' listens at the destination")(
        "precopy-rounds", po::value(&options.precopy_rounds)->default_value(0)->value_name("N"),
        "let QEMU go over all of memory N times while the VM still runs here")(
        "precopy-time", po::value(&texts.precopy_time)->value_name("TIME"),
        "the same for this long, e.g. 10s; with both, what comes first (default: switch over at "
        "once)")("guide", po::value(&texts.guide)->default_value("on")->value_name("on|off"),
                 "run a guide at the source; without one this is post-copy")(
        "lead", po::value(&options.lead)->default_value(options.lead)->value_name("PAGES"),
        "how far the guide may run ahead: pages it touched that are not yet sent")(
        "guide-memory", po::value(&texts.guide_memory)->value_name("SIZE"),
        "end the guide when it costs more memory than this, e.g. 512M; what it costs is in the "
        "report")(
        "guide-wait",
        po::value(&texts.guide_wait)
            ->default_value(fmt::format("{}ms", options.guide_wait.count()))
            ->value_name("TIME"),
        "let the VM's state, and so the VM, wait at most this long for its guide to run, which "
        "must be ahead of it to be of use; 0s: not at all")(
        "next-pages",
        po::value(&options.next_pages)->default_value(options.next_pages)->value_name("N"),
        "send so many pages ahead after each that the VM asks for, before hot set and background, "
        "and up to 32 times as many for one that asks for the page after those; 0: none")(
        "hot", po::value(&options.hot)->value_name("FILE|auto"),
        "send the hot set ahead of the background, the hottest page first: of a trace of gcctl "
        "record, or (auto) by tracking the VM for two seconds before the migration")(
        "bandwidth", po::value(&texts.bandwidth)->value_name("RATE"),
        "limit for all but the pages that the VM waits for, e.g. 100M (bytes/s) or 800mbit")(
        "policy",
        po::value(&options.policy)->default_value(options.policy)->value_name("NAME|FILE"),
        "how the migration shares the NIC: silent (takes what others leave), fast (fills the "
        "link), "
        "none, or a file; see gcctl policy --help")(
        "policy-dev", po::value(&texts.policy_device)->value_name("NIC"),
        "the NIC to shape; default: the one towards the destination")(
        "policy-link", po::value(&texts.policy_link)->value_name("RATE"),
        "what the NIC's link carries, e.g. 10gbit; default: what the policy or the NIC says")(
        "policy-required", po::bool_switch(&options.policy_required),
        "do not migrate where the policy cannot be attached; default: migrate without")(
        "hold-background", po::value(&texts.hold_background)->value_name("TIME"),
        "once the VM runs, send only what is asked for, next to that, guided to or hot for this "
        "long; SIGUSR1 ends it")(
        "kill-source", po::bool_switch(&options.kill_source),
        "when all of the VM is at the destination, end the source QEMU (SIGKILL); default: read "
        "the rest of its memory from it, so that it ends its migration, and leave it")(
        "report", po::value(&texts.report)->value_name("FILE"), "write the report there, as JSON")(
        "json", po::bool_switch(&texts.json), "print events as JSON, one object a line")(
        "quiet,q", po::bool_switch(&texts.quiet), "print nothing but errors")(
        "verbose,v", po::bool_switch(&options.verbose), "also print what happens to the guide");
    return description;
}

Result<void> convert(const Texts& texts, Options& options) {
    GC_TRY(options.to, Endpoint::parse(texts.to));
    if (!texts.precopy_time.empty()) {
        GC_TRY(options.precopy_time, parse_duration(texts.precopy_time));
    }
    if (!texts.guide_memory.empty()) {
        GC_TRY(options.guide_memory, parse_size(texts.guide_memory));
        if (options.guide_memory == 0)
            return fail(ErrorKind::usage, "--guide-memory takes more than 0; see --guide=off");
    }
    if (!texts.bandwidth.empty()) {
        GC_TRY(options.bandwidth, parse_rate(texts.bandwidth));
    }
    if (!texts.policy_device.empty())
        options.policy_device = texts.policy_device;
    if (!texts.policy_link.empty()) {
        GC_TRY(options.policy_link, parse_rate(texts.policy_link));
    }
    if (options.policy == "none" && (options.policy_required || options.policy_device))
        return fail(ErrorKind::usage, "--policy none has neither a NIC nor a need");
    GC_TRY(options.guide_wait, parse_duration(texts.guide_wait));
    if (!texts.hold_background.empty()) {
        GC_TRY(options.hold_background, parse_duration(texts.hold_background));
    }
    if (texts.guide != "on" && texts.guide != "off")
        return fail(ErrorKind::usage, "--guide takes on or off, not '{}'", texts.guide);
    options.guide = texts.guide == "on";
    if (options.lead == 0)
        return fail(ErrorKind::usage, "--lead takes at least one page");
    if (!texts.report.empty())
        options.report = texts.report;
    if (texts.json && texts.quiet)
        return fail(ErrorKind::usage, "--json and --quiet exclude each other");
    if (texts.json)
        options.output = Output::json;
    if (texts.quiet)
        options.output = Output::quiet;
    return {};
}

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    Texts texts;
    GC_TRY(const auto values, options::parse("migrate", "--qmp SOCKET --to HOST:PORT [options]",
                                             arguments, describe(options, texts)));
    if (!values)
        return std::nullopt;
    GC_CHECK(convert(texts, options));
    return options;
}

}  // namespace

int command(std::span<const std::string> arguments) {
    auto options = parse(arguments);
    if (!options)
        return options::complain("migrate", options.error());
    if (!*options)
        return options::exit_done;

    Progress progress((*options)->output, (*options)->verbose);
    ErrorKind failure = ErrorKind::io;
    const report::Report report = Migration::run(**options, progress, failure);
    int status = options::exit_done;
    const bool completed = report.result == report::Outcome::completed;
    if (!completed) {
        progress.event("failed", {{"error", report.error}});
        status = options::complain("migrate", {failure, report.error});
    }
    if (progress.shows_summary() && completed)
        fmt::print("{}", report::summary(report));
    if ((*options)->report) {
        if (auto written = write_report(report, *(*options)->report); !written) {
            const int unwritten = options::complain("migrate", written.error());
            status = status == options::exit_done ? unwritten : status;
        }
    }
    return status;
}

}  // namespace gc::migrate

// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command.h"

#include "migrate/migration.h"
#include "options/arguments.h"
#include "options/value.h"
#include "peer/security_options.h"
#include "util/print.h"
#include "util/units.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <nlohmann/json.hpp>

namespace gc::migrate {
namespace {

namespace po = boost::program_options;

/// Options that need more than a type, as text.
struct Texts {
    std::string to;
    std::string ssh;
    std::string remote_gcctl;
    std::string guide;
    std::string capture;
    std::string mirror;
    std::string policy_device;
    std::string report;
    bool json = false;
    bool quiet = false;
};

Result<std::uint64_t> parse_guide_memory(std::string_view text) {
    GC_TRY(const std::uint64_t size, parse_size(text));
    if (size == 0)
        return fail(ErrorKind::usage,
                    "invalid size '{}' (expected more than 0); to migrate without "
                    "a guide, use --guide=off",
                    text);
    return size;
}

options::Group migration_options(Options& options, Texts& texts) {
    options::Group group("Migration");
    group.add_options()(
        "check", po::bool_switch(&options.check),
        "only check: compare both QEMUs, print every difference and what would "
        "come of it, and touch nothing; exit status 3 if the VM cannot be migrated")(
        "allow-differences", po::bool_switch(&options.allow_differences),
        "migrate even if the destination QEMU would, by what it says of itself, refuse the VM")(
        "qmp", po::value(&options.qmp)->required()->value_name("SOCKET"),
        "QMP unix socket of the source QEMU")(
        "to",
        po::value(&texts.to)->required()->value_name("HOST:PORT|ssh://[USER@]HOST[:PORT]/QMP"),
        "where 'gcctl receive' listens at the destination; with ssh, it is started there for the "
        "destination QEMU's QMP socket, with a one-time key: nothing else has to be set up")(
        "ssh", po::value(&texts.ssh)->default_value("ssh")->value_name("COMMAND"),
        "how to run ssh, e.g. 'ssh -i KEY'")(
        "remote-gcctl", po::value(&texts.remote_gcctl)->default_value("gcctl")->value_name("PATH"),
        "with ssh: the gcctl of the destination host")(
        "precopy-rounds",
        options::number(&options.precopy_rounds)->default_value("0")->value_name("N"),
        "let QEMU send all of memory N times while the VM still runs at the source")(
        "precopy-time", options::value(&options.precopy_time, parse_duration)->value_name("TIME"),
        "the same for this long, e.g. 10s; with both, whichever ends first (default: switch over "
        "at once)")(
        "switch-over-limit",
        options::value(&options.switch_over_limit, parse_duration)
            ->default_value(fmt::format("{}ms", options.switch_over_limit.count()))
            ->value_name("TIME"),
        "roll back if the VM stands still for longer, besides --guide-wait, before it is handed "
        "over")("reconnect-limit",
                options::value(&options.reconnect_limit, parse_duration)
                    ->default_value("30s")
                    ->value_name("TIME"),
                "how long the connection to the destination may be lost, before the VM is handed "
                "over: then roll back. After that, gcctl tries to connect until it succeeds, or "
                "until the destination's host has answered for this long that no gcctl listens "
                "there")(
        "kill-source", po::bool_switch(&options.kill_source),
        "end the source QEMU (SIGKILL) once all of the VM is at the destination; "
        "default: read the rest of its memory, so that its migration completes, and "
        "leave it in postmigrate");
    return group;
}

options::Group guide_options(Options& options, Texts& texts) {
    options::Group group("Guide");
    group.add_options()("guide", po::value(&texts.guide)->default_value("on")->value_name("on|off"),
                        "run a guide at the source; off: plain post-copy")(
        "capture",
        po::value(&texts.capture)->default_value("auto")->value_name("auto|kmod|userfault"),
        "how to find the pages that the guide touches: by guidecopy.ko, which costs it least, or "
        "by userfaultfd, which needs no module; auto: by the module where it is loaded")(
        "lead",
        options::number(&options.lead, 1U)
            ->default_value(std::to_string(options.lead))
            ->value_name("PAGES"),
        "how far the guide may run ahead: pages that it touched and that are not sent yet")(
        "guide-memory",
        options::value(&options.guide_memory, parse_guide_memory)->value_name("SIZE"),
        "end the guide when it takes more memory than this, e.g. 512M; the report says what it "
        "took")("guide-wait",
                options::value(&options.guide_wait, parse_duration)
                    ->default_value(fmt::format("{}ms", options.guide_wait.count()))
                    ->value_name("TIME"),
                "hold the VM's state back until the guide runs, at most this long: a guide beside "
                "its VM is of no use; 0s: do not wait")(
        "mirror", po::value(&texts.mirror)->default_value("auto")->value_name("auto|on|off"),
        "show the guide a copy of each packet that arrives for the VM at the destination, so that "
        "it works on the same requests; needs NICs on taps at the destination. auto: of the NICs "
        "where that can be; on: fail unless it is all of them");
    return group;
}

options::Group order_options(Options& options) {
    options::Group group("Order of pages");
    group.add_options()(
        "next-pages",
        options::number(&options.next_pages)
            ->default_value(std::to_string(options.next_pages))
            ->value_name("N"),
        "after each page that the VM requests, send the next N ahead of hot set and background; "
        "sequential requests double N, up to 32 times; 0: off")(
        "hot", po::value(&options.hot)->value_name("FILE|auto"),
        "send the hot set ahead of the background, the hottest page first: from a trace of gcctl "
        "record, or (auto) by tracking the VM for two seconds before the migration")(
        "hold-background",
        options::value(&options.hold_background, parse_duration)->value_name("TIME"),
        "once the VM runs at the destination, send no background pages for this long; SIGUSR1 "
        "ends it");
    return group;
}

options::Group network_options(Options& options, Texts& texts) {
    options::Group group("Network");
    group.add_options()(
        "bandwidth", options::value(&options.bandwidth, parse_rate)->value_name("RATE"),
        "limit for all pages but those that the VM waits for, e.g. 100M (bytes/s) or 800mbit")(
        "policy",
        po::value(&options.policy)->default_value(options.policy)->value_name("NAME|FILE"),
        "how the migration shares the NIC: silent (takes what others leave), fast (fills the "
        "link), none, or a policy file (see gcctl-policy(8))")(
        "policy-dev", po::value(&texts.policy_device)->value_name("NIC"),
        "the NIC to shape (default: the one towards the destination)")(
        "policy-link", options::value(&options.policy_link, parse_rate)->value_name("RATE"),
        "rate of the NIC's link, e.g. 10gbit (default: the policy's, else the NIC's own)")(
        "policy-required", po::bool_switch(&options.policy_required),
        "fail if the policy cannot be attached (default: migrate without)");
    return group;
}

options::Group output_options(Options& options, Texts& texts) {
    options::Group group("Output");
    group.add_options()("report", po::value(&texts.report)->value_name("FILE"),
                        "write the report to FILE, as JSON")(
        "json", po::bool_switch(&texts.json), "print events as JSON, one object a line")(
        "quiet,q", po::bool_switch(&texts.quiet), "print errors only")(
        "verbose,v", po::bool_switch(&options.verbose), "also print what happens to the guide");
    return group;
}

options::Manual manual_of(Options& options, Texts& texts) {
    return {.name = "migrate",
            .synopsis = "--qmp SOCKET --to HOST:PORT|ssh://HOST/QMP [options]",
            .summary = "move a running VM to another host (run at the source)",
            .description =
                "Moves the VM of the QEMU behind SOCKET to the QEMU that 'gcctl receive' at "
                "HOST:PORT has prepared. The VM is stopped, its device state is sent, and it runs "
                "on at the destination while its memory follows: pages that it requests first, "
                "then those that the guide touches, the hot set, and the rest.\n\n"
                "Until the destination has loaded the device state, any failure leaves the VM "
                "running at the source. From then on it never runs there again.",
            .operand = {},
            .groups = {migration_options(options, texts), guide_options(options, texts),
                       order_options(options),
                       peer::security_group(options.security, tls::Role::client),
                       network_options(options, texts), output_options(options, texts),
                       options::general_options()},
            .subcommands = {}};
}

Result<void> convert(const Texts& texts, Options& options) {
    GC_CHECK(peer::finish(options.security));
    if (SshTarget::is_ssh(texts.to)) {
        if (options.security.tls_wanted || options.security.insecure)
            return fail(ErrorKind::usage, "--to ssh://... makes its own key: it excludes the --tls "
                                          "options and --insecure");
        auto target = SshTarget::parse(texts.to);
        if (!target)
            return wrap(target.error(), "--to");
        options.ssh = {*std::move(target), texts.ssh, texts.remote_gcctl};
    } else {
        const auto to = Endpoint::parse_destination(texts.to);
        if (!to)
            return wrap(to.error(), "--to");
        options.to = *to;
    }
    if (!texts.policy_device.empty())
        options.policy_device = texts.policy_device;
    if (options.policy == "none" && (options.policy_required || options.policy_device))
        return fail(ErrorKind::usage, "--policy none excludes --policy-dev and --policy-required");
    // An older gcctl has no such option, and the same default.
    if (options.ssh && options.reconnect_limit != Options{}.reconnect_limit)
        options.ssh->command +=
            fmt::format(" --reconnect-limit {}ms", options.reconnect_limit.count());
    if (texts.guide != "on" && texts.guide != "off")
        return fail(ErrorKind::usage, "invalid --guide '{}' (expected on or off)", texts.guide);
    options.guide = texts.guide == "on";
    if (texts.capture != "auto" && texts.capture != "kmod" && texts.capture != "userfault")
        return fail(ErrorKind::usage, "invalid --capture '{}' (expected auto, kmod or userfault)",
                    texts.capture);
    options.capture = texts.capture == "auto"   ? guide::CaptureWish::automatic
                      : texts.capture == "kmod" ? guide::CaptureWish::kmod
                                                : guide::CaptureWish::userfault;
    if (texts.mirror != "auto" && texts.mirror != "on" && texts.mirror != "off")
        return fail(ErrorKind::usage, "invalid --mirror '{}' (expected auto, on or off)",
                    texts.mirror);
    options.mirror = texts.mirror == "auto" ? Mirror::automatic
                     : texts.mirror == "on" ? Mirror::on
                                            : Mirror::off;
    if (options.mirror == Mirror::on && !options.guide)
        return fail(ErrorKind::usage, "--mirror on excludes --guide off");
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

/// Finds a wrong path before anything is touched. A disk that is full at the end is a warning.
Result<void> reserve_report(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600));
    if (!file)
        return fail(ErrorKind::unsupported, "cannot write the report {}: {}", path,
                    std::strerror(errno));
    return {};
}

}  // namespace

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    Texts texts;
    GC_TRY(const auto values, options::parse(manual_of(options, texts), arguments));
    if (!values)
        return std::nullopt;
    GC_CHECK(convert(texts, options));
    options.arguments.assign(arguments.begin(), arguments.end());
    return options;
}

options::Manual manual() {
    static Options options;
    static Texts texts;
    return manual_of(options, texts);
}

int command(std::span<const std::string> arguments) {
    auto options = parse(arguments);
    if (!options)
        return options::complain("migrate", options.error());
    if (!*options)
        return options::exit_done;

    if ((*options)->report && !(*options)->check)
        if (const auto reserved = reserve_report(*(*options)->report); !reserved)
            return options::complain("migrate", reserved.error());
    Progress progress((*options)->output, (*options)->verbose, (*options)->security.insecure);
    ErrorKind failure = ErrorKind::io;
    const report::Report report = Migration::run(**options, progress, failure);
    int status = options::exit_done;
    const bool completed = report.result == report::Outcome::completed;
    if (!completed) {
        progress.event("failed", {{"error", report.error}});
        status = options::complain("migrate", {failure, report.error});
    }
    if ((*options)->check)
        return status;
    if (progress.shows_summary() && completed)
        print_best_effort(stdout, "{}", report::summary(report));
    if ((*options)->report) {
        // The exit status is about the VM.
        if (auto written = write_report(report, *(*options)->report); !written)
            (void)options::complain("migrate", written.error());
    }
    return status;
}

}  // namespace gc::migrate

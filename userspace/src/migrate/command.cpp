// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/command.h"

#include "libvirt/migration_socket.h"
#include "metrics/file.h"
#include "metrics/migration.h"
#include "migrate/migration.h"
#include "options/arguments.h"
#include "options/value.h"
#include "peer/security_options.h"
#include "util/print.h"
#include "util/units.h"

#include <algorithm>
#include <array>
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
    LibvirtOptions libvirt;
    std::string socket;
    std::chrono::milliseconds wait{0};
    std::string ssh;
    std::string remote_gcctl;
    std::string guide;
    std::string precopy = "off";
    std::string capture;
    std::string mirror;
    std::string forward;
    std::string compress;
    std::string policy_device;
    std::string report;
    std::string metrics_file;
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

Result<transfer::Compress> parse_compress(std::string_view text) {
    constexpr std::array<std::string_view, 4> names{"auto", "off", "lz4", "zstd"};
    const auto found = std::ranges::find(names, text);
    if (found == names.end())
        return fail(ErrorKind::usage, "invalid --compress '{}' (expected auto, off, lz4 or zstd)",
                    text);
    return static_cast<transfer::Compress>(found - names.begin());
}

options::Group migration_options(Options& options, Texts& texts) {
    options::Group group("Migration");
    group.add_options()(
        "check", po::bool_switch(&options.check),
        "only check: compare both QEMUs, print every difference and what would "
        "come of it, and touch nothing; exit status 3 if the VM cannot be migrated")(
        "allow-differences", po::bool_switch(&options.allow_differences),
        "migrate even if the destination QEMU would, by what it says of itself, refuse the VM")(
        "qmp", po::value(&options.qmp)->value_name("SOCKET"),
        "QMP unix socket of the source QEMU; for VMs that libvirt does not own")(
        "to",
        po::value(&texts.to)->required()->value_name("HOST:PORT|ssh://[USER@]HOST[:PORT]/QMP"),
        "where 'gcctl receive' listens at the destination; with ssh, it is started there for the "
        "destination QEMU's QMP socket, with a one-time key: nothing else has to be set up")(
        "ssh", po::value(&texts.ssh)->default_value("ssh")->value_name("COMMAND"),
        "how to run ssh, e.g. 'ssh -i KEY'")(
        "remote-gcctl", po::value(&texts.remote_gcctl)->default_value("gcctl")->value_name("PATH"),
        "with ssh: the gcctl of the destination host")(
        "precopy", po::value(&texts.precopy)->default_value("off")->value_name("auto|off"),
        "auto: let QEMU send memory while the VM still runs at the source, in rounds, as long as "
        "each leaves clearly less than the one before; off: switch over at once, or as the next "
        "three say")("precopy-rounds",
                     options::number(&options.precopy.rounds)->default_value("0")->value_name("N"),
                     "let QEMU send all of memory N times; with auto: at most N rounds")(
        "precopy-time", options::value(&options.precopy.time, parse_duration)->value_name("TIME"),
        "the same for this long, e.g. 10s; whichever ends first")(
        "precopy-bytes", options::value(&options.precopy.bytes, parse_size)->value_name("SIZE"),
        "the same until pre-copy has sent this much, e.g. 8G")(
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

options::Group libvirt_options(Texts& texts) {
    options::Group group("libvirt");
    group.add_options()("connect", po::value(&texts.libvirt.connect)->value_name("URI"),
                        "libvirt's URI, e.g. qemu:///system: migrate a VM that libvirt owns, which "
                        "libvirt then has at the destination")(
        "domain", po::value(&texts.libvirt.domain)->value_name("DOMAIN"),
        "with --connect: the VM's name or UUID; --domain may be left out")(
        "destination-uri", po::value(&texts.libvirt.destination_uri)->value_name("URI"),
        "the destination's libvirt, as libvirt here reaches it (default: qemu+ssh://HOST/system, "
        "with the host of --to)")("persistent", po::bool_switch(&texts.libvirt.persistent),
                                  "define the VM at the destination, as virsh migrate does with "
                                  "this option")("undefinesource",
                                                 po::bool_switch(&texts.libvirt.undefine_source),
                                                 "undefine the VM at the source, likewise")(
        "unsafe", po::bool_switch(&texts.libvirt.unsafe),
        "migrate even if libvirt sees that a disk is not on shared storage, or may be cached, "
        "likewise");
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
        "forward", po::value(&texts.forward)->default_value("auto")->value_name("auto|off"),
        "send what arrives for the VM at the source, from its STOP on, after it to the "
        "destination, so that clients need not send it again. auto: of the NICs that are on taps "
        "at both ends")(
        "compress",
        po::value(&texts.compress)->default_value("off")->value_name("auto|off|lz4|zstd"),
        "compress the VM's memory on its way. auto: what makes the migration faster, as measured "
        "while it runs: nothing on a fast link, zstd or lz4 on a slower one. lz4, zstd: everything "
        "that shrinks, but pages that the VM waits for only (by lz4) where it has them sooner")(
        "policy",
        po::value(&options.policy)->default_value(options.policy)->value_name("NAME|FILE"),
        "how the migration shares the NIC: silent (takes what others leave), fast (fills the "
        "link), none, or a policy file (see gcctl-policy(8))")(
        "policy-object", po::value(&options.policy_object)->value_name("FILE"),
        "BPF object with your own tc program, which the policy configures; must follow "
        "gc_policy.h")("policy-dev", po::value(&texts.policy_device)->value_name("NIC"),
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
        "metrics-file", po::value(&texts.metrics_file)->value_name("FILE"),
        "add the migration to FILE, in Prometheus' text format, for node_exporter's textfile "
        "collector")("json", po::bool_switch(&texts.json),
                     "print events as JSON, one object a line")(
        "quiet,q", po::bool_switch(&texts.quiet), "print warnings and errors only")(
        "verbose,v", po::bool_switch(&options.verbose), "also print what happens to the guide");
    return group;
}

options::Manual manual_of(Options& options, Texts& texts) {
    return {.name = "migrate",
            .synopsis = "{--qmp SOCKET | --connect URI DOMAIN} --to HOST:PORT|ssh://HOST/QMP "
                        "[options]",
            .summary = "move a running VM to another host (run at the source)",
            .description =
                "Moves the VM of the QEMU behind SOCKET to the QEMU that 'gcctl receive' at "
                "HOST:PORT has prepared. The VM is stopped, its device state is sent, and it runs "
                "on at the destination while its memory follows: pages that it requests first, "
                "then those that the guide touches, the hot set, and the rest.\n\n"
                "Until the destination has loaded the device state, any failure leaves the VM "
                "running at the source. From then on it never runs there again.\n\n"
                "With --connect, libvirt owns the VM DOMAIN and drives its migration, to a "
                "'gcctl receive --connect' at HOST:PORT. Then the VM cannot run on at the source "
                "any more from the moment at which it is stopped there.",
            .operand = "domain",
            .groups = {migration_options(options, texts), libvirt_options(texts),
                       guide_options(options, texts), order_options(options),
                       peer::security_group(options.security, tls::Role::client),
                       network_options(options, texts), output_options(options, texts),
                       options::general_options()},
            .subcommands = {}};
}

options::Group proxy_options(Texts& texts) {
    options::Group group("Migration");
    group.add_options()("connect", po::value(&texts.libvirt.connect)->required()->value_name("URI"),
                        "libvirt's URI on this host, e.g. qemu:///system")(
        "domain", po::value(&texts.libvirt.domain)->value_name("DOMAIN"),
        "the VM's name or UUID; --domain may be left out")(
        "to", po::value(&texts.to)->required()->value_name("HOST:PORT"),
        "where 'gcctl receive --connect --socket NAME' listens at the destination")(
        "socket", po::value(&texts.socket)->value_name("NAME"),
        "the same name as there (default: the VM's name); libvirt is to be given the migration's "
        "URI unix:///run/libvirt/guidecopy/NAME/m.tunnelmigrate.dest.DOMAIN")(
        "wait", options::value(&texts.wait, parse_duration)->value_name("TIME"),
        "give up if libvirt has begun no migration by then (default: wait forever)");
    return group;
}

/// Those options of a group that have these names.
void add_chosen(options::Group& to, const options::Group& from,
                std::span<const std::string_view> names) {
    for (const auto& option : from.options())
        if (std::ranges::find(names, option->long_name()) != names.end())
            to.add(option);
}

options::Manual proxy_manual_of(Options& options, Texts& texts) {
    constexpr std::array<std::string_view, 4> of_migrate{"check", "allow-differences",
                                                         "switch-over-limit", "reconnect-limit"};
    options::Group migration = proxy_options(texts);
    add_chosen(migration, migration_options(options, texts), of_migrate);
    return {.name = "proxy",
            .synopsis = "--connect URI DOMAIN --to HOST:PORT [options]",
            .summary = "carry a migration that others drive by libvirt (run at the source)",
            .description =
                "Waits until somebody, such as virsh, Pacemaker or another program that manages "
                "hosts, asks libvirt to migrate DOMAIN to the socket of --socket, and carries that "
                "migration to a 'gcctl receive --connect --socket NAME' at HOST:PORT: with a "
                "guide, encrypted, and over any number of lost connections. When the migration "
                "begins and when it switches to post-copy is for them to say:\n\n"
                "  virsh migrate --live --postcopy --postcopy-after-precopy --migrateuri "
                "unix:///run/libvirt/guidecopy/NAME/m.tunnelmigrate.dest.DOMAIN DOMAIN "
                "qemu+ssh://HOST/system\n\n"
                "If it fails before the VM is stopped, libvirt's migration fails and the VM runs "
                "on here. It ends when one migration has ended.",
            .operand = "domain",
            .groups = {std::move(migration), guide_options(options, texts), order_options(options),
                       peer::security_group(options.security, tls::Role::client),
                       network_options(options, texts), output_options(options, texts),
                       options::general_options()},
            .subcommands = {}};
}

Result<void> convert_libvirt(const Texts& texts, Options& options) {
    const LibvirtOptions& given = texts.libvirt;
    if (given.connect.empty() == options.qmp.empty())
        return fail(ErrorKind::usage, "expected either --qmp SOCKET or --connect URI DOMAIN");
    if (given.connect.empty()) {
        if (!given.domain.empty() || !given.destination_uri.empty() || given.persistent ||
            given.undefine_source || given.unsafe)
            return fail(ErrorKind::usage, "DOMAIN, --destination-uri, --persistent, "
                                          "--undefinesource and --unsafe need --connect");
        return {};
    }
    if (given.domain.empty())
        return fail(ErrorKind::usage, "--connect needs the name of a domain");
    if (options.kill_source)
        return fail(ErrorKind::usage, "--connect excludes --kill-source: libvirt ends its QEMU");
    if (options.ssh)
        return fail(ErrorKind::usage, "--connect excludes --to ssh://...: run 'gcctl receive "
                                      "--connect' there, and give --to HOST:PORT");
    if (options.mirror == Mirror::on)
        return fail(ErrorKind::usage, "--connect excludes --mirror on: libvirt starts the "
                                      "destination QEMU, whose NICs are not known before");
    options.libvirt = given;
    if (options.libvirt->destination_uri.empty())
        options.libvirt->destination_uri = fmt::format("qemu+ssh://{}/system", options.to.host);
    return {};
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
    if (options.policy == "none" &&
        (options.policy_required || options.policy_device || !options.policy_object.empty()))
        return fail(ErrorKind::usage, "--policy none excludes --policy-object, --policy-dev and "
                                      "--policy-required");
    // An older gcctl has no such option, and the same default.
    if (options.ssh && options.reconnect_limit != Options{}.reconnect_limit)
        options.ssh->command +=
            fmt::format(" --reconnect-limit {}ms", options.reconnect_limit.count());
    if (texts.guide != "on" && texts.guide != "off")
        return fail(ErrorKind::usage, "invalid --guide '{}' (expected on or off)", texts.guide);
    options.guide = texts.guide == "on";
    if (texts.precopy != "auto" && texts.precopy != "off")
        return fail(ErrorKind::usage, "invalid --precopy '{}' (expected auto or off)",
                    texts.precopy);
    options.precopy.automatic = texts.precopy == "auto";
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
    if (texts.forward != "auto" && texts.forward != "off")
        return fail(ErrorKind::usage, "invalid --forward '{}' (expected auto or off)",
                    texts.forward);
    options.forward = texts.forward == "auto";
    GC_TRY(options.compress, parse_compress(texts.compress));
    if (options.mirror == Mirror::on && !options.guide)
        return fail(ErrorKind::usage, "--mirror on excludes --guide off");
    GC_CHECK(convert_libvirt(texts, options));
    if (!texts.report.empty())
        options.report = texts.report;
    if (!texts.metrics_file.empty())
        options.metrics_file = texts.metrics_file;
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

using ManualOf = options::Manual (*)(Options& options, Texts& texts);

Result<std::optional<Options>> parse_by(ManualOf manual, std::span<const std::string> arguments,
                                        Texts& texts) {
    Options options;
    GC_TRY(const auto values, options::parse(manual(options, texts), arguments));
    if (!values)
        return std::nullopt;
    GC_CHECK(convert(texts, options));
    options.arguments.assign(arguments.begin(), arguments.end());
    return options;
}

/// A manual that is only read.
options::Manual show(ManualOf manual) {
    static Options options;
    static Texts texts;
    return manual(options, texts);
}

/// Runs a command whose options were parsed. @return the exit status
int run(std::string_view command, const Result<std::optional<Options>>& options) {
    if (!options)
        return options::complain(command, options.error());
    if (!*options)
        return options::exit_done;

    if ((*options)->report && !(*options)->check)
        if (const auto reserved = reserve_report(*(*options)->report); !reserved)
            return options::complain(command, reserved.error());
    if ((*options)->metrics_file)
        if (const auto checked = metrics::check(*(*options)->metrics_file); !checked)
            return options::complain(command, checked.error());
    Progress progress((*options)->output, (*options)->verbose, (*options)->security.insecure);
    ErrorKind failure = ErrorKind::io;
    const report::Report report = Migration::run(**options, progress, failure);
    int status = options::exit_done;
    const bool completed = report.result == report::Outcome::completed;
    if (!completed) {
        progress.event("failed", {{"error", report.error}});
        status = options::complain(command, {failure, report.error});
    }
    if ((*options)->check)
        return status;
    if (progress.shows_summary() && completed)
        print_best_effort(stdout, "{}", report::summary(report));
    // The exit status is about the VM.
    if ((*options)->metrics_file) {
        const auto counted = metrics::update(*(*options)->metrics_file, [&](auto& exposition) {
            metrics::count_migration(exposition, report,
                                     completed ? std::nullopt : std::optional(failure),
                                     std::chrono::system_clock::now());
        });
        if (!counted)
            (void)options::complain(command, counted.error());
    }
    if ((*options)->report) {
        if (auto written = write_report(report, *(*options)->report); !written)
            (void)options::complain(command, written.error());
    }
    return status;
}

}  // namespace

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Texts texts;
    return parse_by(manual_of, arguments, texts);
}

Result<std::optional<Options>> parse_proxy(std::span<const std::string> arguments) {
    Texts texts;
    GC_TRY(auto options, parse_by(proxy_manual_of, arguments, texts));
    if (!options)
        return std::nullopt;
    LibvirtOptions& libvirt = *options->libvirt;
    libvirt.proxy = {texts.socket.empty() ? libvirt.domain : texts.socket, texts.wait};
    GC_CHECK(libvirt::MigrationSocket::check_name(libvirt.proxy->socket));
    return options;
}

options::Manual proxy_manual() {
    return show(proxy_manual_of);
}

options::Manual manual() {
    return show(manual_of);
}

int command(std::span<const std::string> arguments) {
    return run("migrate", parse(arguments));
}

int proxy_command(std::span<const std::string> arguments) {
    return run("proxy", parse_proxy(arguments));
}

}  // namespace gc::migrate

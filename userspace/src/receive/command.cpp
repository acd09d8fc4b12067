// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/command.h"

#include "libvirt/migration_socket.h"
#include "metrics/file.h"
#include "options/arguments.h"
#include "options/value.h"
#include "peer/security_options.h"
#include "receive/receiver.h"
#include "receive/service.h"
#include "util/units.h"

#include <cstdlib>
#include <sstream>

namespace gc::receive {
namespace {

namespace po = boost::program_options;

options::Manual manual_of(Options& options) {
    options::Group incoming("Migration");
    incoming.add_options()("qmp", po::value(&options.qmp)->value_name("SOCKET"),
                           "QMP unix socket of the destination QEMU, started with -incoming defer; "
                           "for VMs that libvirt does not own")(
        "connect", po::value(&options.connect)->value_name("URI"),
        "libvirt's URI, e.g. qemu:///system: take a VM of 'gcctl migrate --connect', for which "
        "libvirt starts the QEMU")(
        "socket", po::value(&options.socket)->value_name("NAME"),
        "with --connect: also take a VM of 'gcctl proxy --socket NAME', whose migration somebody "
        "else asks libvirt for")(
        "listen", options::value(&options.listen, Endpoint::parse)->value_name("HOST:PORT"),
        "where the source's 'gcctl migrate --to' connects to; port 0 takes a free one")(
        "keep", po::bool_switch(&options.keep),
        "with --connect: take one VM after the other, each in a process of its own, until SIGTERM "
        "or SIGINT comes")(
        "psk-stdin", po::bool_switch(&options.psk_stdin),
        "read a one-time key from standard input (for 'gcctl migrate --to ssh://...'); --listen "
        "is then by default a free port at the address that ssh came to")(
        "wait", options::value(&options.wait, parse_duration)->value_name("TIME"),
        "give up if no source has connected by then (default: wait forever)")(
        "allow-overcommit", po::bool_switch(&options.allow_overcommit),
        "take the VM even if this host, or the QEMU's cgroup, seems to have too little memory")(
        "reconnect-limit",
        options::value(&options.reconnect_limit, parse_duration)
            ->default_value("30s")
            ->value_name("TIME"),
        "how long the source may be away, before the VM is handed over: then the destination QEMU "
        "is ended. After that, how long to wait for a source whose host has ended all connections; "
        "for a network that is silent, the wait has no limit then")(
        "measure",
        options::value(&options.measure, parse_duration)->implicit_value("0")->value_name("TIME"),
        "track, with guidecopy.ko, which pages the VM touches here until all of it has arrived, "
        "for at least TIME; the report of gcctl migrate then says how good its guide was");
    options::Group output("Output");
    output.add_options()(
        "metrics-file",
        options::value(&options.metrics_file,
                       [](std::string_view text) { return Result<std::string>(text); })
            ->value_name("FILE"),
        "add each VM to FILE, in Prometheus' text format, for node_exporter's textfile collector")(
        "json", po::bool_switch(&options.json), "print events as JSON, one object a line")(
        "quiet,q", po::bool_switch(&options.quiet), "print warnings and errors only");
    return {.name = "receive",
            .synopsis = "{--qmp SOCKET | --connect URI} --listen HOST:PORT [options]",
            .summary = "take a VM (run at the destination)",
            .description =
                "Prepares the QEMU behind SOCKET, waits for one 'gcctl migrate', and relays its "
                "pages. That QEMU must have been started with the source's command line and "
                "-incoming defer. It stays paused until the VM is handed over; if the migration "
                "fails before that, it is ended.\n\n"
                "With --connect, libvirt starts the QEMU when a migration begins, and owns the "
                "VM. With --keep, the next VM may come when one has arrived or failed; SIGTERM "
                "ends that, at once or when the VM that was handed over is complete, with status "
                "0. One port takes one VM at a time; VMs that are to arrive side by side need a "
                "gcctl receive each.",
            .operand = {},
            .groups = {incoming, peer::security_group(options.security, tls::Role::server), output,
                       options::general_options()},
            .subcommands = {}};
}

/// A free port at the address of this host that ssh(1) was asked to connect to.
Result<Endpoint> ssh_address() {
    // "client-address client-port server-address server-port"
    const char* connection = std::getenv("SSH_CONNECTION");
    std::istringstream words(connection == nullptr ? "" : connection);
    std::string address;
    for (int word = 0; word < 3; ++word)
        words >> address;
    if (!words)
        return fail(ErrorKind::usage, "--psk-stdin without --listen is for a login through ssh, "
                                      "which sets SSH_CONNECTION");
    return Endpoint{address, "0"};
}

}  // namespace

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    GC_TRY(const auto values, options::parse(manual_of(options), arguments));
    if (!values)
        return std::nullopt;
    if (options.qmp.empty() == options.connect.empty())
        return fail(ErrorKind::usage, "expected either --qmp SOCKET or --connect URI");
    if (!options.connect.empty() && options.measure)
        return fail(ErrorKind::usage,
                    "--connect excludes --measure: libvirt starts the QEMU later");
    if (!options.socket.empty() && options.connect.empty())
        return fail(ErrorKind::usage, "--socket needs --connect");
    if (!options.socket.empty())
        GC_CHECK(libvirt::MigrationSocket::check_name(options.socket));
    if (options.keep && (options.connect.empty() || options.psk_stdin || options.wait.count() > 0))
        return fail(ErrorKind::usage,
                    "--keep needs --connect, and excludes --psk-stdin and --wait");
    GC_CHECK(peer::finish(options.security));
    if (options.psk_stdin && (options.security.tls_wanted || options.security.insecure))
        return fail(ErrorKind::usage, "--psk-stdin excludes the --tls options and --insecure");
    if (!(*values).contains("listen") && !options.psk_stdin)
        return fail(ErrorKind::usage,
                    "--listen is missing (expected e.g. --listen 192.0.2.2:4444)");
    if (!(*values).contains("listen")) {
        GC_TRY(options.listen, ssh_address());
    }
    options.arguments.assign(arguments.begin(), arguments.end());
    return options;
}

options::Manual manual() {
    static Options options;
    return manual_of(options);
}

namespace {

/// @return the exit status
Result<int> take_vms(const Options& options) {
    if (options.metrics_file)
        GC_CHECK(metrics::check(*options.metrics_file));
    if (options.keep)
        return serve(options);
    GC_CHECK(Receiver::run(options));
    return options::exit_done;
}

}  // namespace

int command(std::span<const std::string> arguments) {
    return options::run("receive", arguments, parse, take_vms);
}

}  // namespace gc::receive

// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/command.h"

#include "options/arguments.h"
#include "receive/receiver.h"
#include "util/units.h"

namespace gc::receive {
namespace {

namespace po = boost::program_options;

/// Options that need more than a type, as text.
struct Texts {
    std::string listen;
    std::string wait;
    std::string measure;
};

options::Manual manual_of(Options& options, Texts& texts) {
    options::Group incoming("Migration");
    incoming.add_options()("qmp", po::value(&options.qmp)->required()->value_name("SOCKET"),
                           "QMP unix socket of the destination QEMU, started with -incoming defer")(
        "listen", po::value(&texts.listen)->required()->value_name("HOST:PORT"),
        "where the source's 'gcctl migrate --to' connects to; port 0 takes a free one")(
        "wait", po::value(&texts.wait)->value_name("TIME"),
        "give up if no source has connected by then (default: wait forever)")(
        "measure", po::value(&texts.measure)->implicit_value("0")->value_name("TIME"),
        "track, with guidecopy.ko, which pages the VM touches here until all of it has arrived, "
        "for at least TIME; the report of gcctl migrate then says how good its guide was");
    options::Group output("Output");
    output.add_options()("json", po::bool_switch(&options.json),
                         "print events as JSON, one object a line")(
        "quiet,q", po::bool_switch(&options.quiet), "print errors only");
    return {.name = "receive",
            .synopsis = "--qmp SOCKET --listen HOST:PORT [options]",
            .summary = "take one VM (run at the destination)",
            .description =
                "Prepares the QEMU behind SOCKET, waits for one 'gcctl migrate', and relays its "
                "pages. That QEMU must have been started with the source's command line and "
                "-incoming defer. It stays paused until the VM is handed over; if the migration "
                "fails before that, it is ended.",
            .operand = {},
            .groups = {incoming, output, options::general_options()},
            .subcommands = {}};
}

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    Texts texts;
    GC_TRY(const auto values, options::parse(manual_of(options, texts), arguments));
    if (!values)
        return std::nullopt;
    GC_TRY(options.listen, Endpoint::parse(texts.listen));
    if (!texts.wait.empty()) {
        GC_TRY(options.wait, parse_duration(texts.wait));
    }
    if (!texts.measure.empty()) {
        GC_TRY(options.measure, parse_duration(texts.measure));
    }
    return options;
}

}  // namespace

options::Manual manual() {
    static Options options;
    static Texts texts;
    return manual_of(options, texts);
}

int command(std::span<const std::string> arguments) {
    return options::run("receive", arguments, parse, Receiver::run);
}

}  // namespace gc::receive

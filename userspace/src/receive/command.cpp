// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/command.h"

#include "options/arguments.h"
#include "receive/receiver.h"
#include "util/units.h"

namespace gc::receive {
namespace {

namespace po = boost::program_options;

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    std::string listen;
    std::string wait;
    std::string measure;
    Options options;
    po::options_description description("Options");
    description.add_options()("help,h", "show this text")(
        "qmp", po::value(&options.qmp)->required()->value_name("SOCKET"),
        "QMP unix socket of the destination QEMU, which was started with -incoming defer")(
        "listen", po::value(&listen)->required()->value_name("HOST:PORT"),
        "where the source's 'gcctl migrate --to' connects to; port 0 takes a free one")(
        "wait", po::value(&wait)->value_name("TIME"),
        "give up when no source has connected by then (default: wait for ever)")(
        "measure", po::value(&measure)->implicit_value("0")->value_name("TIME"),
        "track which pages the VM touches here, by guidecopy.ko, until all of it is here, and for "
        "TIME from its start at least; gcctl migrate reports what that says of its guide")(
        "json", po::bool_switch(&options.json), "print events as JSON, one object a line")(
        "quiet,q", po::bool_switch(&options.quiet), "print nothing but errors");
    GC_TRY(const auto values, options::parse("receive", "--qmp SOCKET --listen HOST:PORT [options]",
                                             arguments, description));
    if (!values)
        return std::nullopt;
    GC_TRY(options.listen, Endpoint::parse(listen));
    if (!wait.empty()) {
        GC_TRY(options.wait, parse_duration(wait));
    }
    if (!measure.empty()) {
        GC_TRY(options.measure, parse_duration(measure));
    }
    return options;
}

}  // namespace

int command(std::span<const std::string> arguments) {
    return options::run("receive", arguments, parse, Receiver::run);
}

}  // namespace gc::receive

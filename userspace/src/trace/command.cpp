// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/command.h"
#include "options/arguments.h"
#include "trace/file.h"
#include "trace/show.h"

#include <nlohmann/json.hpp>

namespace gc::trace {
namespace {

namespace po = boost::program_options;

struct Options {
    std::string file;
    bool touches = false;
    bool json = false;
};

options::Manual manual_of(Options& options) {
    options::Group group("Trace");
    group.add_options()("file", po::value(&options.file)->required()->value_name("FILE"),
                        "trace written by gcctl record (--file may be left out)")(
        "touches", po::bool_switch(&options.touches),
        "also show each access: time, vCPU, kind, location")("json", po::bool_switch(&options.json),
                                                             "print JSON, one object per line");
    return {.name = "trace",
            .synopsis = "FILE [options]",
            .summary = "show what gcctl record recorded",
            .description = "Prints the hot set over time, one epoch per line.",
            .operand = "file",
            .groups = {group, options::general_options()},
            .subcommands = {}};
}

Result<void> show(const Options& options) {
    GC_TRY(const Trace trace, read_trace(options.file));
    Show out(trace.header, options.json);
    out.begin("trace", {{"file", options.file}}, options.file);
    for (const Epoch& epoch : trace.epochs) {
        out.epoch(epoch);
        if (options.touches)
            out.touches(epoch);
    }
    out.total({{"file", options.file}, {"epochs", trace.epochs.size()}}, {});
    return {};
}

}  // namespace

options::Manual manual() {
    static Options options;
    return manual_of(options);
}

int command(std::span<const std::string> arguments) {
    return options::run("trace", arguments, manual_of, show);
}

}  // namespace gc::trace

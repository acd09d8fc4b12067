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

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    po::options_description description("Options");
    description.add_options()("help,h", "show this text")(
        "file", po::value(&options.file)->required()->value_name("FILE"),
        "a trace of gcctl record")("touches", po::bool_switch(&options.touches),
                                   "also show each access: time, vCPU, kind, place")(
        "json", po::bool_switch(&options.json), "print JSON, one object a line");
    GC_TRY(const auto values,
           options::parse("trace", "FILE [options]", arguments, description, "file"));
    if (!values)
        return std::nullopt;
    return options;
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

int command(std::span<const std::string> arguments) {
    return options::run("trace", arguments, parse, show);
}

}  // namespace gc::trace

// SPDX-License-Identifier: GPL-2.0-or-later
#include "html_report/command.h"

#include "html_report/document.h"
#include "html_report/input.h"
#include "options/arguments.h"
#include "util/whole_file.h"

#include <filesystem>
#include <nlohmann/json.hpp>

namespace gc::html_report {
namespace {

namespace po = boost::program_options;

constexpr std::size_t largest_input = 64 << 20;  // bytes; a benchmark of an hour has some 2 MiB

struct Options {
    std::string file;
    std::string output;
};

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    po::options_description description("Options");
    description.add_options()("help,h", "show this text")(
        "file", po::value(&options.file)->required()->value_name("FILE"),
        "of gcctl migrate --report, or of a benchmark")(
        "output,o", po::value(&options.output)->required()->value_name("PAGE"),
        "the page: one HTML file, which needs no network");
    GC_TRY(const auto values,
           options::parse("report", "FILE -o PAGE", arguments, description, "file"));
    if (!values)
        return std::nullopt;
    std::error_code none_there;
    if (std::filesystem::equivalent(options.file, options.output, none_there))
        return fail(ErrorKind::usage, "the page would replace {}; give --output another name",
                    options.file);
    return options;
}

Result<void> write_page(const Options& options) {
    GC_TRY(const std::string text, read_whole_file(options.file, largest_input));
    const auto input = read_input(text);
    if (!input)
        return wrap(input.error(), options.file);
    return write_whole_file(options.output, make_page(*input));
}

}  // namespace

int command(std::span<const std::string> arguments) {
    return options::run("report", arguments, parse, write_page);
}

}  // namespace gc::html_report

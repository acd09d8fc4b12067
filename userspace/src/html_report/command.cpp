// SPDX-License-Identifier: GPL-2.0-or-later
#include "html_report/command.h"

#include "html_report/document.h"
#include "html_report/input.h"
#include "options/arguments.h"
#include "report/report.h"
#include "util/whole_file.h"

#include <filesystem>
#include <nlohmann/json.hpp>

namespace gc::html_report {
namespace {

namespace po = boost::program_options;

constexpr std::size_t max_input_bytes = 64 << 20;  // a benchmark of an hour has about 2 MiB

struct Options {
    std::string file;
    std::string output;
    bool schema = false;
};

options::Manual manual_of(Options& options) {
    options::Group group("Report");
    group.add_options()("file", po::value(&options.file)->value_name("FILE"),
                        "the JSON of gcctl migrate --report or of a benchmark (--file may be left "
                        "out)")("output,o", po::value(&options.output)->value_name("PAGE"),
                                "write the page to PAGE: one HTML file that needs no network")(
        "schema", po::bool_switch(&options.schema),
        "print the JSON schema of gcctl migrate --report instead");
    return {.name = "report",
            .synopsis = "FILE -o PAGE | --schema",
            .summary = "make an HTML page of a migration's or a benchmark's results",
            .description = "Makes one self-contained HTML page with figures, tables and pictures: "
                           "what was sent in which class, how long the VM waited for its pages, "
                           "and when.",
            .operand = "file",
            .groups = {group, options::general_options()},
            .subcommands = {}};
}

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    GC_TRY(const auto values, options::parse(manual_of(options), arguments));
    if (!values || options.schema)
        return values ? std::optional(options) : std::nullopt;
    if (options.file.empty() || options.output.empty())
        return fail(ErrorKind::usage, "expected FILE and -o PAGE, or --schema");
    std::error_code none_there;
    if (std::filesystem::equivalent(options.file, options.output, none_there))
        return fail(ErrorKind::usage, "--output would overwrite {}; choose another name",
                    options.file);
    return options;
}

Result<void> write_page(const Options& options) {
    if (options.schema) {
        fmt::print("{}\n", report::json_schema().dump(2));
        return {};
    }
    GC_TRY(const std::string text, read_whole_file(options.file, max_input_bytes));
    const auto input = read_input(text);
    if (!input)
        return wrap(input.error(), options.file);
    return write_whole_file(options.output, make_page(*input));
}

}  // namespace

options::Manual manual() {
    static Options options;
    return manual_of(options);
}

int command(std::span<const std::string> arguments) {
    return options::run("report", arguments, parse, write_page);
}

}  // namespace gc::html_report

// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/command.h"

#include "options/arguments.h"
#include "simulate/account.h"
#include "trace/file.h"

#include <nlohmann/json.hpp>

namespace gc::simulate {
namespace {

/// Touched pages of all VMs. Each takes about 100 bytes of memory.
constexpr std::uint64_t max_pages = 1 << 25;

Result<void> simulate(const Options& options) {
    GC_TRY(const trace::Trace trace, trace::read_trace(options.trace));
    const auto workload = make_workload(trace, options.replay);
    if (!workload)
        return wrap(workload.error(), options.trace);
    if (workload->pages.size() * options.scenario.vms > max_pages)
        return fail(ErrorKind::usage,
                    "too many pages to simulate: {} VMs touch {} pages each (expected at most {} "
                    "pages over all VMs)",
                    options.scenario.vms, workload->pages.size(), max_pages);
    const report::Report report = make_report(options, *workload, run(*workload, options.scenario));
    if (!options.report.empty())
        GC_CHECK(write_report(report, options.report));
    if (options.json)
        fmt::print("{}\n", report::to_json(report).dump(2));
    else
        fmt::print("{}", report::summary(report));
    return {};
}

}  // namespace

int command(std::span<const std::string> arguments) {
    return options::run("simulate", arguments, parse, simulate);
}

}  // namespace gc::simulate

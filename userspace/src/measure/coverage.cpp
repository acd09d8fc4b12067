// SPDX-License-Identifier: GPL-2.0-or-later
#include "measure/coverage.h"

#include "util/page.h"

#include <algorithm>

namespace gc::measure {
namespace {

std::optional<double> share(std::uint64_t part, std::uint64_t whole) {
    if (whole == 0)
        return std::nullopt;
    return static_cast<double>(part) / static_cast<double>(whole);
}

/// With bytes of its own on the wire, sent since the guide touched it.
bool is_guide_data(const std::optional<ledger::Delivery>& delivery) {
    return delivery == ledger::Delivery{ledger::PageClass::guide, false};
}

}  // namespace

Result<void> Coverage::add(const Touched& touched) {
    const std::size_t block = ledger_.find(touched.block);
    if (block == ledger::Ledger::no_block)
        return fail(ErrorKind::protocol,
                    "the destination says that pages of '{}' were touched, a RAM block that the "
                    "source does not have",
                    touched.block);
    for (const Run& run : touched.runs)
        GC_CHECK(add(block, run, touched.asked));
    return {};
}

Result<void> Coverage::add(std::size_t block, const Run& run, bool asked) {
    const ledger::Ledger::Block& in = ledger_.blocks()[block];
    if (run.first > in.pages || run.count > in.pages - run.first)
        return fail(ErrorKind::protocol,
                    "the destination says that {} pages from page {} on of '{}' were touched, "
                    "which has {} pages",
                    run.count, run.first, in.name, in.pages);
    for (std::uint64_t page = run.first; page < run.first + run.count; ++page) {
        const auto delivery = ledger_.delivery(block, page);
        if (!delivery)
            return fail(ErrorKind::protocol,
                        "the destination says that page {} of '{}' was touched, which was never "
                        "delivered",
                        page, in.name);
        touched_.add(delivery->as, 1);
        touched_.zero += delivery->zero ? 1 : 0;
        touched_guide_data_ += is_guide_data(delivery) ? 1 : 0;
    }
    asked_ += asked ? run.count : 0;
    return {};
}

report::MeasureReport Coverage::result() const {
    std::uint64_t pushed_data = 0;
    for (std::size_t block = 0; block < ledger_.blocks().size(); ++block)
        for (std::uint64_t page = 0; page < ledger_.blocks()[block].pages; ++page)
            pushed_data += is_guide_data(ledger_.delivery(block, page)) ? 1 : 0;
    report::MeasureReport report;
    report.touched = touched_;
    report.asked = asked_;
    // What was there at switch-over needs no guide.
    const std::uint64_t needed = touched_.total - touched_.in[ledger::PageClass::precopy];
    report.coverage = share(needed - std::min(asked_, needed), needed);
    report.accuracy =
        share(touched_.in[ledger::PageClass::guide], ledger_.delivered(ledger::PageClass::guide));
    report.waste_bytes = (pushed_data - touched_guide_data_) * page_size;
    return report;
}

}  // namespace gc::measure

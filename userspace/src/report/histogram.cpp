// SPDX-License-Identifier: GPL-2.0-or-later
#include "report/histogram.h"

#include "report/report.h"
#include "util/milliseconds.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

namespace gc::report {

void Histogram::add(std::chrono::nanoseconds duration) {
    const auto us = static_cast<std::uint64_t>(
        std::max<std::int64_t>(0, std::chrono::floor<std::chrono::microseconds>(duration).count()));
    const std::size_t bucket = us == 0 ? 0 : static_cast<std::size_t>(std::bit_width(us) - 1);
    ++counts_[std::min(bucket, buckets - 1)];
    ++count_;
    sum_ += duration;
}

std::uint64_t Histogram::quantile_us(double q) const {
    if (count_ == 0)
        return 0;
    const auto wanted = static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_)));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets; ++i) {
        seen += counts_[i];
        if (seen >= wanted)
            return std::uint64_t{2} << i;
    }
    return std::uint64_t{2} << (buckets - 1);
}

void Timeline::add(std::chrono::nanoseconds at) {
    const std::size_t step_of =
        std::min(static_cast<std::size_t>(std::max<std::int64_t>(at / step, 0)), steps - 1);
    if (counts_.size() <= step_of)
        counts_.resize(step_of + 1);
    ++counts_[step_of];
}

DemandReport Demand::report() const {
    return {.faults = faults,
            .stall_ms = in_ms(stall.sum()),
            .p50_us = stall.quantile_us(0.5),
            .p99_us = stall.quantile_us(0.99),
            .p999_us = stall.quantile_us(0.999),
            .histogram_us = stall.counts(),
            .timeline = DemandTimeline{.step_ms = {static_cast<double>(Timeline::step.count())},
                                       .counts = timeline.counts()},
            .local = local,
            .local_ms = in_ms(local_stall)};
}

}  // namespace gc::report

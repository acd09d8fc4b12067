// SPDX-License-Identifier: GPL-2.0-or-later
// Access traces: the reader, and what reads the trace after it.
#include "simulate/workload.h"
#include "trace/hot_set.h"
#include "trace/page_intervals.h"
#include "trace/reader.h"
#include "trace/writer.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace gc;
    const auto read = trace::parse(std::as_bytes(std::span(data, size)));
    if (!read)
        return 0;
    trace::PageIntervals seen;
    std::uint64_t touched = 0;
    for (const trace::Epoch& epoch : read->epochs)
        for (const trace::Touch& touch : epoch.touches)
            touched += seen.add(touch.page, touch.page + touch.pages());
    if (touched > read->header.pages())
        std::abort();
    constexpr std::size_t few = 1000;
    if (trace::hot_set(*read, few).size() != std::min<std::size_t>(few, touched))
        std::abort();
    // Large ones are refused by their number of pages, which takes memory only for tests of speed.
    if (touched <= few)
        (void)simulate::make_workload(*read, {});
    // What is written again is read as the same.
    trace::Buffer again;
    trace::append_header(again, read->header);
    for (const trace::Epoch& epoch : read->epochs)
        trace::append_epoch(again, epoch);
    trace::append_end(again, read->epochs.size());
    const auto second = trace::parse(again);
    if (!second || second->header != read->header || second->epochs != read->epochs)
        std::abort();
    return 0;
}

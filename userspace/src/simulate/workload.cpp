// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/workload.h"

#include "trace/page_intervals.h"
#include "util/page.h"

#include <algorithm>
#include <map>

namespace gc::simulate {
namespace {

using std::chrono::microseconds;

constexpr std::uint64_t max_touches = 1 << 25;  // each takes about 100 bytes

/// Of the traced VM.
struct FirstTouch {
    std::uint64_t page;
    std::uint32_t vcpu;
    Duration at;
};

Result<void> check(const trace::Trace& trace, const Replay& replay) {
    if (trace.header.mode != trace::Mode::order)
        return fail(ErrorKind::usage,
                    "the trace has mode {}, which has no order of touches; record one with 'gcctl "
                    "record --mode order'",
                    trace::to_string(trace.header.mode));
    for (const trace::Epoch& epoch : trace.epochs)
        if (std::ranges::any_of(epoch.touches, [](const auto& touch) { return touch.order > 0; }))
            return fail(
                ErrorKind::usage,
                "the VM of the trace was in huge pages, so the trace does not tell which of "
                "their 4 KiB pages were touched; record it with transparent huge pages off");
    const std::uint64_t needed = trace.header.pages() * replay.load;
    if (replay.memory != 0 && replay.memory / page_size < needed)
        return fail(ErrorKind::usage,
                    "--memory is too small (expected at least {} MiB with this trace: {} times the "
                    "traced VM's {} MiB)",
                    needed * page_size >> 20, replay.load, trace.header.pages() * page_size >> 20);
    return {};
}

Duration end_of(const trace::Trace& trace) {
    if (trace.epochs.empty())
        return Duration{0};
    return microseconds(trace.epochs.back().begin_us + trace.epochs.back().length_us);
}

Duration quickened(Duration time, double speed) {
    return std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::nano>(time) /
                                                speed);
}

/// How many pages the trace's touches may be of. A run is the touches of one vCPU in one
/// microsecond, which are few in a recording; in a file it can be 2^32 pages in three bytes.
std::uint64_t max_pages_of(const trace::Trace& trace) {
    constexpr std::uint64_t of_any_trace = std::uint64_t{1} << 18;
    constexpr std::uint64_t of_a_run = 64;
    std::uint64_t pages = of_any_trace;
    for (const trace::Epoch& epoch : trace.epochs)
        pages += of_a_run * epoch.touches.size();
    return std::min(pages, max_touches);
}

Result<std::vector<FirstTouch>> first_touches(const trace::Trace& trace, const Replay& replay) {
    const std::uint64_t max_pages = max_pages_of(trace);
    std::vector<FirstTouch> found;
    trace::PageIntervals seen;
    for (const trace::Epoch& epoch : trace.epochs) {
        for (const trace::Touch& touch : epoch.touches) {
            const Duration at = microseconds(epoch.begin_us + touch.time_us) - replay.at;
            if (at < Duration{0})
                continue;
            if (touch.count > max_pages)
                return fail(ErrorKind::usage,
                            "the trace has a touch of {} pages at once (expected at most {} pages "
                            "in all of it); it is no recording of a VM",
                            touch.count, max_pages);
            seen.add(touch.page, touch.page + touch.count,
                     [&](std::uint64_t first, std::uint64_t end) {
                         for (std::uint64_t page = first; page < end; ++page)
                             found.push_back({page, touch.vcpu, quickened(at, replay.speed)});
                     });
            if (found.size() > max_pages)
                return fail(ErrorKind::usage,
                            "the trace has touches of more than {} pages, too many for its {} "
                            "epochs",
                            max_pages, trace.epochs.size());
        }
    }
    return found;
}

}  // namespace

std::uint64_t Workload::data_before(std::size_t index) const {
    const std::uint64_t end = index < pages.size() ? pages[index] : memory;
    const std::uint64_t before = end - index;
    return before - static_cast<std::uint64_t>(static_cast<double>(before) * zeros);
}

Result<Workload> make_workload(const trace::Trace& trace, const Replay& replay) {
    GC_CHECK(check(trace, replay));
    GC_TRY(const std::vector<FirstTouch> touches, first_touches(trace, replay));
    if (touches.empty())
        return fail(ErrorKind::usage,
                    "the trace has no touch at or after {:.3f} s; it is {:.3f} s long",
                    std::chrono::duration<double>(replay.at).count(),
                    std::chrono::duration<double>(end_of(trace)).count());
    if (touches.size() * replay.load > max_touches)
        return fail(ErrorKind::usage,
                    "--load is too large (expected at most {} with this trace, which touches {} "
                    "pages)",
                    max_touches / touches.size(), touches.size());
    const std::uint64_t traced = trace.header.pages() * replay.load;
    Workload made;
    made.memory = replay.memory == 0 ? traced : replay.memory / page_size;
    made.zeros = replay.zeros;
    made.span = quickened(end_of(trace) - replay.at, replay.speed);

    std::vector<std::uint64_t> pages;
    pages.reserve(touches.size());
    for (const FirstTouch& touch : touches)
        pages.push_back(touch.page);
    std::ranges::sort(pages);
    const double stretch = static_cast<double>(made.memory) / static_cast<double>(traced);
    for (const std::uint64_t page : pages)
        for (std::uint64_t copy = 0; copy < replay.load; ++copy)
            made.pages.push_back(static_cast<std::uint64_t>(
                static_cast<double>(page * replay.load + copy) * stretch));

    std::map<std::pair<std::uint32_t, std::uint32_t>, std::size_t> vcpus;
    for (std::uint32_t copy = 0; copy < replay.load; ++copy) {
        for (const FirstTouch& touch : touches) {
            const auto [vcpu, fresh] = vcpus.try_emplace({copy, touch.vcpu}, vcpus.size());
            if (fresh)
                made.vcpus.emplace_back();
            const auto place = std::ranges::lower_bound(pages, touch.page) - pages.begin();
            made.vcpus[vcpu->second].push_back(
                {static_cast<std::uint32_t>(place) * replay.load + copy, touch.at});
        }
    }
    return made;
}

}  // namespace gc::simulate

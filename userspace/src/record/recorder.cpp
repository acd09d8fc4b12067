// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/recorder.h"

#include <algorithm>

namespace gc::record {
namespace {

constexpr std::size_t records_per_read = 4096;

std::uint64_t in_us(Recorder::Clock::duration duration) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
}

}  // namespace

Recorder::Recorder(TrackedVm& vm)
    : vm_(vm), begin_(Clock::now()), epoch_begin_(begin_), seen_(vm.track().pages()),
      buffer_(records_per_read) {}

Result<trace::Epoch> Recorder::end_epoch() {
    trace::Epoch epoch;
    const Clock::time_point now = Clock::now();
    epoch.begin_us = in_us(epoch_begin_ - begin_);
    epoch.length_us = in_us(now - begin_) - epoch.begin_us;
    GC_CHECK(collect(epoch));
    GC_CHECK(count_lost(epoch));
    seen_.assign(seen_.size(), false);
    epoch_begin_ = now;
    if (vm_.mode() == capture::TrackMode::order)
        GC_CHECK(vm_.track().rearm());
    return epoch;
}

Result<void> Recorder::collect(trace::Epoch& epoch) {
    if (vm_.mode() == capture::TrackMode::order)
        return drain(epoch);
    std::uint64_t next = 0;
    do {
        GC_TRY(next, vm_.track().scan(next));
        GC_CHECK(drain(epoch));
    } while (next != 0);
    return {};
}

Result<void> Recorder::drain(trace::Epoch& epoch) {
    for (;;) {
        GC_TRY(const std::size_t count, vm_.track().read(buffer_));
        for (std::size_t i = 0; i < count; ++i)
            add(epoch, buffer_[i]);
        // The vCPUs keep running: leave newer records to the next round.
        if (count < buffer_.size())
            return {};
    }
}

void Recorder::add(trace::Epoch& epoch, const capture::Record& record) {
    // A page touched between the last read of the ring and the re-arm after it has two records in
    // this epoch.
    const auto first = seen_.begin() + static_cast<std::ptrdiff_t>(record.page);
    const auto last = first + (std::ptrdiff_t{1} << record.order);
    if (std::find(first, last, false) == last)
        return;
    std::fill(first, last, true);
    trace::Touch touch{.page = record.page,
                       .vcpu = record.vcpu,
                       .kind = static_cast<trace::AccessKind>(record.kind),
                       .order = record.order};
    if (vm_.mode() == capture::TrackMode::order) {
        const auto since =
            std::chrono::nanoseconds(record.time_ns) - epoch_begin_.time_since_epoch();
        const std::uint64_t earliest = epoch.touches.empty() ? 0 : epoch.touches.back().time_us;
        touch.time_us = std::clamp(since.count() > 0 ? in_us(since) : 0, earliest, epoch.length_us);
    }
    epoch.add(touch);
}

Result<void> Recorder::count_lost(trace::Epoch& epoch) {
    GC_TRY(const capture::Stats now, vm_.track().stats());
    epoch.dropped = now.dropped - counted_.dropped;
    epoch.unresolved = now.unresolved - counted_.unresolved;
    counted_ = now;
    return {};
}

}  // namespace gc::record

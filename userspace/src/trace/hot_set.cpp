// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/hot_set.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace gc::trace {
namespace {

/// Consecutive pages of the same heat, which were touched in this order.
struct Segment {
    std::uint64_t page = 0;  ///< the first
    std::uint64_t end = 0;   ///< the page after the last
    std::uint64_t heat = 0;
    std::uint64_t last_epoch = 0;
    std::uint64_t place = 0;  ///< position of the first page among the touches of that epoch

    [[nodiscard]] auto order() const { return std::tuple(~heat, ~last_epoch, place, page); }
};

/// The heat of all pages. Takes memory for the runs of a trace, not for the pages in them: a trace
/// of 50 bytes can have a run of 2^32 pages.
class HeatMap {
  public:
    void begin_epoch() {
        ++epoch_;
        place_ = 0;
    }

    void touch(std::uint64_t first, std::uint64_t end) {
        split(first);
        split(end);
        auto at = segments_.lower_bound(first);
        for (std::uint64_t page = first; page < end;) {
            if (at == segments_.end() || at->first > page) {
                const std::uint64_t gap_end =
                    at == segments_.end() ? end : std::min(end, at->first);
                at = segments_.emplace_hint(at, page, Segment{page, gap_end});
            }
            Segment& segment = at->second;
            // A page counts once per epoch, even where huge pages overlap it.
            if (segment.last_epoch != epoch_) {
                segment.heat += epoch_;
                segment.last_epoch = epoch_;
                segment.place = place_;
                place_ += segment.end - segment.page;
            }
            page = segment.end;
            ++at;
        }
    }

    [[nodiscard]] std::vector<Segment> hottest_first() const {
        std::vector<Segment> all;
        all.reserve(segments_.size());
        for (const auto& [page, segment] : segments_)
            all.push_back(segment);
        std::ranges::sort(all, {}, &Segment::order);
        return all;
    }

  private:
    /// Makes a segment that begins before the page end there.
    void split(std::uint64_t page) {
        auto at = segments_.lower_bound(page);
        if (at == segments_.begin() || (--at)->second.end <= page)
            return;
        Segment rest = at->second;
        rest.place += page - rest.page;
        rest.page = page;
        at->second.end = page;
        segments_.emplace_hint(std::next(at), page, rest);
    }

    std::map<std::uint64_t, Segment> segments_;  ///< by first page, disjoint
    std::uint64_t epoch_ = 0;
    std::uint64_t place_ = 0;
};

}  // namespace

std::vector<Place> hot_set(const Trace& trace, std::size_t max_pages) {
    HeatMap heats;
    for (const Epoch& epoch : trace.epochs) {
        heats.begin_epoch();
        for (const Touch& touch : epoch.touches)
            heats.touch(touch.page, touch.page + touch.pages());
    }
    std::vector<Place> hot;
    for (const Segment& segment : heats.hottest_first())
        for (std::uint64_t page = segment.page; page < segment.end; ++page) {
            if (hot.size() == max_pages)
                return hot;
            hot.push_back(trace.header.place(page));
        }
    return hot;
}

}  // namespace gc::trace

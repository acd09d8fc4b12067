// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/hot_set.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>

namespace gc::trace {
namespace {

struct Heat {
    std::uint64_t page = 0;
    std::uint64_t heat = 0;
    std::uint64_t last_epoch = 0;
    std::uint64_t place = 0;  ///< position among the touches of that epoch

    [[nodiscard]] auto order() const { return std::tuple(~heat, ~last_epoch, place, page); }
};

std::vector<Heat> heats(const Trace& trace) {
    std::unordered_map<std::uint64_t, Heat> found;
    std::uint64_t number = 0;
    for (const Epoch& epoch : trace.epochs) {
        ++number;
        std::uint64_t place = 0;
        for (const Touch& touch : epoch.touches) {
            for (std::uint64_t page = touch.page; page < touch.page + touch.pages(); ++page) {
                Heat& heat = found[page];
                // A page counts once per epoch, even where huge pages overlap it.
                if (heat.last_epoch != number)
                    heat = {page, heat.heat + number, number, place++};
            }
        }
    }
    std::vector<Heat> all;
    all.reserve(found.size());
    for (const auto& [page, heat] : found)
        all.push_back(heat);
    return all;
}

}  // namespace

std::vector<Place> hot_set(const Trace& trace) {
    std::vector<Heat> all = heats(trace);
    std::ranges::sort(all, {}, &Heat::order);
    std::vector<Place> hot;
    hot.reserve(all.size());
    for (const Heat& heat : all)
        hot.push_back(trace.header.place(heat.page));
    return hot;
}

}  // namespace gc::trace

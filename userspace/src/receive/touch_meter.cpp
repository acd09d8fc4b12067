// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/touch_meter.h"

#include <algorithm>
#include <span>

namespace gc::receive {

TouchedSet::TouchedSet(const std::vector<trace::Block>& blocks) {
    for (const trace::Block& block : blocks) {
        blocks_.push_back({block, pages_.size()});
        pages_.resize(pages_.size() + block.pages(), State::untouched);
    }
}

void TouchedSet::touch(std::uint64_t page, std::uint64_t count) {
    for (; count > 0 && page < pages_.size(); ++page, --count)
        mark(page, State::touched);
}

void TouchedSet::ask(const std::string& block, std::uint64_t offset) {
    const auto found =
        std::ranges::find_if(blocks_, [&](const Block& in) { return in.block.name == block; });
    if (found == blocks_.end() || offset >= found->block.bytes)
        return;
    const std::uint64_t host_page =
        std::max<std::uint64_t>(found->block.page_size >> trace::page_shift, 1);
    const std::uint64_t page = offset >> trace::page_shift;
    const std::uint64_t first = page - page % host_page;
    for (std::uint64_t i = first; i < std::min(first + host_page, found->block.pages()); ++i)
        mark(found->first + i, State::asked);
}

void TouchedSet::mark(std::uint64_t page, State as) {
    State& state = pages_[page];
    touched_ += state == State::untouched ? 1 : 0;
    asked_ += state != State::asked && as == State::asked ? 1 : 0;
    state = std::max(state, as);
}

std::vector<measure::Touched> TouchedSet::result() const {
    std::vector<measure::Touched> result;
    for (const Block& block : blocks_) {
        for (const State state : {State::touched, State::asked}) {
            measure::Touched touched{block.block.name, state == State::asked, {}};
            for (std::uint64_t page = 0; page < block.block.pages(); ++page) {
                if (pages_[block.first + page] != state)
                    continue;
                if (!touched.runs.empty() &&
                    touched.runs.back().first + touched.runs.back().count == page)
                    ++touched.runs.back().count;
                else
                    touched.runs.push_back({page, 1});
            }
            if (!touched.runs.empty())
                result.push_back(std::move(touched));
        }
    }
    return result;
}

Result<TouchMeter> TouchMeter::start(qmp::Client& qmp) {
    GC_TRY(record::TrackedVm vm, record::TrackedVm::open(qmp, capture::TrackMode::order));
    return TouchMeter(std::move(vm));
}

Result<TouchedSet> TouchMeter::touched() {
    TouchedSet set(vm_.blocks());
    std::vector<capture::Record> records(4096);
    // At most one record for each page: the track was armed once.
    for (std::uint64_t left = vm_.track().pages(); left > 0;) {
        GC_TRY(const std::size_t count, vm_.track().read(records));
        for (const capture::Record& record : std::span(records).first(count))
            set.touch(record.page, std::uint64_t{1} << record.order);
        if (count < records.size())
            break;
        left -= std::min<std::uint64_t>(left, count);
    }
    return set;
}

Result<std::uint64_t> TouchMeter::unresolved() {
    GC_TRY(const capture::Stats stats, vm_.track().stats());
    return stats.unresolved + stats.dropped;
}

}  // namespace gc::receive

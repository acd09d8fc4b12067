// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/trace.h"

namespace gc::trace {

std::string_view to_string(Mode mode) {
    return mode == Mode::order ? "order" : "age";
}

std::uint64_t Header::pages() const {
    std::uint64_t sum = 0;
    for (const Block& block : blocks)
        sum += block.pages();
    return sum;
}

Place Header::place(std::uint64_t page) const {
    std::size_t block = 0;
    for (; page >= blocks[block].pages(); ++block)
        page -= blocks[block].pages();
    return {block, page};
}

void Epoch::add(const Touch& touch) {
    if (!touches.empty()) {
        Touch& last = touches.back();
        if (touch.page == last.page + last.pages() && touch.order == last.order &&
            touch.kind == last.kind && touch.vcpu == last.vcpu && touch.time_us == last.time_us) {
            last.count += touch.count;
            return;
        }
    }
    touches.push_back(touch);
}

std::uint64_t Epoch::pages() const {
    std::uint64_t sum = 0;
    for (const Touch& touch : touches)
        sum += touch.pages();
    return sum;
}

}  // namespace gc::trace

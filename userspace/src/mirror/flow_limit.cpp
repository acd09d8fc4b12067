// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/flow_limit.h"

#include <algorithm>

namespace gc::mirror {

FlowLimit::State& FlowLimit::state_of(const Flow& flow) {
    // Which ones are left out must be remembered.
    if (flows_.size() >= max_flows && !flows_.contains(flow))
        std::erase_if(flows_, [](const auto& entry) { return !entry.second.left_out; });
    if (flows_.size() >= max_flows && !flows_.contains(flow))
        flows_.erase(flows_.begin());
    return flows_[flow];
}

void FlowLimit::leave_out_largest() {
    const auto largest = std::ranges::max_element(flows_, {}, [](const auto& entry) {
        return entry.second.left_out ? 0 : entry.second.bytes;
    });
    if (largest != flows_.end())
        largest->second.left_out = true;
}

bool FlowLimit::admit(const std::optional<Segment>& segment, std::size_t bytes, Queue queue) {
    if (!segment) {
        // Datagrams may be lost.
        const bool sent = queue == Queue::short_;
        left_out_ += sent ? 0 : 1;
        return sent;
    }
    State& state = state_of(segment->flow);
    if (segment->syn && !segment->ack)
        state = {};
    state.bytes += bytes;
    if (queue == Queue::full)
        state.left_out = true;
    else if (queue == Queue::long_ && !state.left_out)
        leave_out_largest();
    left_out_ += state.left_out ? 1 : 0;
    return !state.left_out;
}

}  // namespace gc::mirror

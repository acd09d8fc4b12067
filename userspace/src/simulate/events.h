// SPDX-License-Identifier: GPL-2.0-or-later
// The event queue of a simulation.
#pragma once

#include "simulate/scenario.h"

#include <queue>
#include <vector>

namespace gc::simulate {

struct Event {
    enum class Kind : std::uint8_t {
        switch_over,
        guide_touches,  ///< `what`: its vCPU
        resumed,
        touches,       ///< `what`: the vCPU
        requests,      ///< `what`: the page, at the destination's host
        requested,     ///< `what`: the page, at the source
        pump,          ///< the source checks what it may send
        link_is_free,  ///< has no VM
        arrived,       ///< a frame; has no VM
        placed,        ///< `what`: the lane
        acknowledged,  ///< a frame of bulk
    };
    Time at;
    Kind kind;
    std::uint32_t vm = 0;
    std::uint32_t what = 0;
};

/// Ordered by time; events at the same time in the order in which they were added.
class Events {
  public:
    void add(const Event& event) { queue_.push({event, added_++}); }
    [[nodiscard]] bool empty() const { return queue_.empty(); }
    Event take() {
        const Event next = queue_.top().event;
        queue_.pop();
        return next;
    }

  private:
    struct Entry {
        Event event;
        std::uint64_t number;
        bool operator>(const Entry& other) const {
            return event.at != other.event.at ? event.at > other.event.at : number > other.number;
        }
    };
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_;
    std::uint64_t added_ = 0;
};

}  // namespace gc::simulate

// SPDX-License-Identifier: GPL-2.0-or-later
// Decides at the destination which packets are left out when the source does not take them in time.
// No I/O.
#pragma once

#include "mirror/packet.h"

#include <cstdint>
#include <map>
#include <optional>

namespace gc::mirror {

enum class Queue : std::uint8_t { short_, long_, full };

/// A connection that has lost a packet is of no use, so none loses just one: from the first on that
/// is left out, all are, until a new connection between the same ends begins. Those that have sent
/// most go first: they are uploads, and cost most.
class FlowLimit {
  public:
    /// More flows forget what they have sent.
    static constexpr std::size_t max_flows = 8192;

    /// @param segment of the packet, or nullopt if it is not TCP
    /// @return whether to send it
    bool admit(const std::optional<Segment>& segment, std::size_t bytes, Queue queue);

    [[nodiscard]] std::uint64_t left_out() const { return left_out_; }

  private:
    struct State {
        std::uint64_t bytes = 0;
        bool left_out = false;
    };
    State& state_of(const Flow& flow);
    void leave_out_largest();

    std::map<Flow, State> flows_;
    std::uint64_t left_out_ = 0;
};

}  // namespace gc::mirror

// SPDX-License-Identifier: GPL-2.0-or-later
// Which message may be sent and received when: one table for each end of the control channel. As
// seen by the source (the destination's table mirrors it):
//
//     greeted     receives ready      -> prepared
//     prepared    opens all channels  -> streaming
//     streaming   sends commit        -> committed
//     committed   receives resumed    -> resumed
//     resumed     receives completed  -> completed
//     completed   receives touched    -> completed
//     completed   receives measured   -> measured
//
//     prepared, streaming                        sends abandon      -> abandoned
//     greeted, prepared, streaming, abandoned    receives refused   -> refused
//     committed                                  receives refused   -> refused
//     committed, resumed                         receives failed    -> failed
//
// A `refused` that arrives in state committed crossed the commit, or is of a VM that a manager was
// to run. It counts only with a proof (peer/refusal.h), which is for the source to check.
#pragma once

#include "peer/message.h"

#include <span>

namespace gc::peer {

enum class State : std::uint8_t {
    greeted,    ///< the hello was said
    prepared,   ///< the destination is ready
    streaming,  ///< all channels are open
    committed,  ///< the destination may run the VM, the source never again
    resumed,
    completed,
    measured,
    abandoned,  ///< the source keeps the VM
    refused,    ///< the destination never ran the VM
    failed,     ///< after the commit
};
[[nodiscard]] std::string_view name(State state);

enum class End : std::uint8_t { source, destination };

/// A row of the table above.
struct Transition {
    State from;
    MessageType message;
    bool sent;  ///< by this end; false: received
    State to;
};

[[nodiscard]] std::span<const Transition> transitions(End end);

class Conversation {
  public:
    explicit Conversation(End end, State state = State::greeted) : end_(end), state_(state) {}

    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] bool is(State state) const { return state_ == state; }

    /// Errors: protocol, if the message may not come now; the state stays as it was.
    Result<void> sent(MessageType message) { return take(message, true); }
    Result<void> received(MessageType message) { return take(message, false); }
    /// All channels are open. Only in state prepared.
    void opened() { state_ = State::streaming; }

  private:
    Result<void> take(MessageType message, bool sent);

    End end_;
    State state_;
};

}  // namespace gc::peer

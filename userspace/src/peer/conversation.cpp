// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/conversation.h"

#include <algorithm>

namespace gc::peer {
namespace {

using enum MessageType;

constexpr std::array source_transitions{
    Transition{State::greeted, ready, false, State::prepared},
    Transition{State::greeted, refused, false, State::refused},
    Transition{State::prepared, abandon, true, State::abandoned},
    Transition{State::prepared, refused, false, State::refused},
    Transition{State::streaming, commit, true, State::committed},
    Transition{State::streaming, abandon, true, State::abandoned},
    Transition{State::streaming, refused, false, State::refused},
    Transition{State::committed, resumed, false, State::resumed},
    Transition{State::committed, refused, false, State::refused},
    Transition{State::committed, failed, false, State::failed},
    Transition{State::resumed, completed, false, State::completed},
    Transition{State::resumed, failed, false, State::failed},
    Transition{State::completed, touched, false, State::completed},
    Transition{State::completed, measured, false, State::measured},
    Transition{State::abandoned, refused, false, State::refused},
};

constexpr std::array destination_transitions{
    Transition{State::greeted, ready, true, State::prepared},
    Transition{State::greeted, refused, true, State::refused},
    Transition{State::prepared, abandon, false, State::abandoned},
    Transition{State::prepared, refused, true, State::refused},
    Transition{State::streaming, commit, false, State::committed},
    Transition{State::streaming, abandon, false, State::abandoned},
    Transition{State::streaming, refused, true, State::refused},
    Transition{State::committed, resumed, true, State::resumed},
    Transition{State::committed, refused, true, State::refused},
    Transition{State::committed, failed, true, State::failed},
    Transition{State::resumed, completed, true, State::completed},
    Transition{State::resumed, failed, true, State::failed},
    Transition{State::completed, touched, true, State::completed},
    Transition{State::completed, measured, true, State::measured},
    Transition{State::abandoned, refused, true, State::refused},
};

constexpr std::array<std::string_view, 10> state_names{
    "greeted",   "prepared", "streaming", "committed", "resumed",
    "completed", "measured", "abandoned", "refused",   "failed",
};

}  // namespace

std::string_view name(State state) {
    return state_names[static_cast<std::size_t>(state)];
}

std::span<const Transition> transitions(End end) {
    return end == End::source ? std::span<const Transition>(source_transitions)
                              : std::span<const Transition>(destination_transitions);
}

Result<void> Conversation::take(MessageType message, bool sent) {
    for (const Transition& row : transitions(end_))
        if (row.from == state_ && row.message == message && row.sent == sent) {
            state_ = row.to;
            return {};
        }
    return fail(ErrorKind::protocol, "{} '{}' in state '{}': not allowed by the peer protocol",
                sent ? "to send" : "the other gcctl sent", name(message), name(state_));
}

}  // namespace gc::peer

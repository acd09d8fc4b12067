// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/conversation.h"

#include <gmock/gmock.h>
#include <set>

namespace gc::peer {
namespace {

using testing::HasSubstr;

constexpr std::array all_states{
    State::greeted,   State::prepared, State::streaming, State::committed, State::resumed,
    State::completed, State::measured, State::abandoned, State::refused,   State::failed,
};

/// Brings a conversation to a state by the shortest way through its table.
std::optional<Conversation> in(End end, State wanted) {
    std::vector<Conversation> reached{Conversation(end)};
    std::set<State> seen{State::greeted};
    for (std::size_t i = 0; i < reached.size(); ++i) {
        if (reached[i].is(wanted))
            return reached[i];
        const auto visit = [&](const Conversation& next) {
            if (seen.insert(next.state()).second)
                reached.push_back(next);
        };
        for (const Transition& row : transitions(end)) {
            if (!reached[i].is(row.from))
                continue;
            Conversation next = reached[i];
            EXPECT_TRUE(row.sent ? next.sent(row.message) : next.received(row.message));
            EXPECT_TRUE(next.is(row.to));
            visit(next);
        }
        if (reached[i].is(State::prepared)) {
            Conversation next = reached[i];
            next.opened();
            visit(next);
        }
    }
    return std::nullopt;
}

TEST(Conversation, EveryStateCanBeReached) {
    for (const End end : {End::source, End::destination})
        for (const State state : all_states)
            EXPECT_TRUE(in(end, state)) << name(state);
}

/// All that the tables do not name is refused and changes nothing.
TEST(Conversation, NothingElseIsAllowed) {
    for (const End end : {End::source, End::destination})
        for (const State state : all_states)
            for (std::size_t i = 0; i < message_types; ++i)
                for (const bool sent : {true, false}) {
                    const auto message = static_cast<MessageType>(i);
                    bool allowed = false;
                    for (const Transition& row : transitions(end))
                        allowed |= row.from == state && row.message == message && row.sent == sent;
                    Conversation conversation = in(end, state).value();
                    const auto taken =
                        sent ? conversation.sent(message) : conversation.received(message);
                    EXPECT_EQ(taken.has_value(), allowed) << name(state) << ' ' << name(message);
                    if (!allowed) {
                        EXPECT_TRUE(conversation.is(state));
                        EXPECT_EQ(taken.error().kind, ErrorKind::protocol);
                    }
                }
}

/// What one end may send, the other one may receive in the state that it is then in.
TEST(Conversation, TheEndsFitTogether) {
    for (const End end : {End::source, End::destination}) {
        const End other = end == End::source ? End::destination : End::source;
        for (const Transition& row : transitions(end)) {
            if (!row.sent)
                continue;
            Conversation conversation = in(other, row.from).value();
            EXPECT_TRUE(conversation.received(row.message))
                << name(row.from) << ' ' << name(row.message);
            EXPECT_TRUE(conversation.is(row.to));
        }
    }
}

TEST(Conversation, TheVmNeverRunsBeforeTheCommit) {
    for (const State state :
         {State::greeted, State::prepared, State::streaming, State::abandoned, State::refused}) {
        EXPECT_FALSE(in(End::destination, state)->sent(MessageType::resumed)) << name(state);
        EXPECT_FALSE(in(End::source, state)->received(MessageType::resumed)) << name(state);
    }
}

TEST(Conversation, ARefusalNeverFollowsTheVmsStart) {
    for (const State state : {State::resumed, State::completed, State::measured, State::failed}) {
        const auto refused = in(End::source, state)->received(MessageType::refused);
        ASSERT_FALSE(refused) << name(state);
        EXPECT_THAT(refused.error().message, HasSubstr("'refused' in state"));
    }
    EXPECT_FALSE(in(End::destination, State::committed)->sent(MessageType::refused));
}

}  // namespace
}  // namespace gc::peer

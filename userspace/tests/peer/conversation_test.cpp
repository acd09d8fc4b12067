// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/conversation.h"

#include "util/whole_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <set>
#include <sstream>

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

/// The lines of the n-th state diagram of a document, without its frame.
std::multiset<std::string> diagram(const std::string& document, std::size_t number) {
    constexpr std::string_view begin = "```mermaid\nstateDiagram-v2\n";
    std::size_t at = 0;
    for (std::size_t i = 0; i <= number; ++i)
        at = document.find(begin, at) + begin.size();
    std::istringstream lines(document.substr(at, document.find("```", at) - at));
    std::multiset<std::string> found;
    for (std::string line; std::getline(lines, line);)
        found.insert(line);
    return found;
}

TEST(Conversation, IsDrawnInTheReferenceAsItIs) {
    const std::string document = read_whole_file(GC_DOCS "/reference/peer-protocol.md").value();
    for (const End end : {End::source, End::destination}) {
        std::multiset<std::string> expected{"    [*] --> greeted",
                                            "    prepared --> streaming: all channels are open"};
        for (const Transition& row : transitions(end))
            expected.insert(fmt::format(
                "    {} --> {}: {} {}{}", name(row.from), name(row.to),
                row.sent ? "sends" : "receives", name(row.message),
                row.from == State::committed && row.to == State::refused ? " with its proof" : ""));
        EXPECT_EQ(diagram(document, end == End::source ? 0 : 1), expected);
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
        EXPECT_FALSE(in(End::destination, state)->sent(MessageType::refused)) << name(state);
        const auto refused = in(End::source, state)->received(MessageType::refused);
        ASSERT_FALSE(refused) << name(state);
        EXPECT_THAT(refused.error().message, HasSubstr("'refused' in state"));
    }
}

}  // namespace
}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/control.h"

#include "socket_pair.h"

#include <gmock/gmock.h>

namespace gc::peer {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class ControlTest : public SocketPair {
  protected:
    Control source() {
        channel = Channel::raw(std::move(ours)).value();
        return {*channel, End::source, State::greeted};
    }
    std::unique_ptr<Channel> channel;
};

TEST_F(ControlTest, MessagesComeWholeAndInOrder) {
    Control control = source();
    EXPECT_FALSE(control.receive(0ms).value());
    peer_says(R"({"type":"ready","qemu":"7.2","preempt":true})"
              "\n"
              R"({"type":"refu)");
    EXPECT_EQ(std::get<Ready>(**control.receive(1s)).qemu, "7.2");
    EXPECT_FALSE(control.receive(0ms).value());
    peer_says("sed\",\"reason\":\"full\"}\n");
    EXPECT_EQ(std::get<Refused>(**control.receive(1s)).reason, "full");
}

TEST_F(ControlTest, TellsOfALostPeer) {
    Control control = source();
    theirs.close();
    EXPECT_EQ(control.receive(1s).error().kind, ErrorKind::io);
}

TEST_F(ControlTest, SkipsWhatItDoesNotKnow) {
    Control control = source();
    peer_says("{\"type\":\"later\"}\n{\"type\":\"ready\",\"qemu\":\"\",\"preempt\":false}\n");
    EXPECT_TRUE(std::holds_alternative<Ready>(**control.receive(1s)));
}

TEST_F(ControlTest, RefusesWhatMayNotComeNow) {
    Control control = source();
    peer_says("{\"type\":\"resumed\"}\n");
    const auto message = control.receive(1s);
    ASSERT_FALSE(message);
    EXPECT_THAT(message.error().message, HasSubstr("'resumed' in state 'greeted'"));
}

TEST_F(ControlTest, SendsNothingThatMayNotBeSent) {
    Control control = source();
    EXPECT_EQ(control.send(Commit{}).error().kind, ErrorKind::protocol);
    std::array<std::byte, 8> bytes;
    EXPECT_FALSE(theirs.read_available(bytes).value());
}

TEST_F(ControlTest, RefusesALineWithoutEnd) {
    Control control = source();
    const std::string text(max_line + 5000, 'x');
    // More than the socket's buffer holds: the peer must not be needed to read on.
    std::thread peer([&] { (void)theirs.write(std::as_bytes(std::span(text))); });
    const auto message = control.receive(5s);
    channel->shut_down();
    peer.join();
    ASSERT_FALSE(message);
    EXPECT_THAT(message.error().message, HasSubstr("longer"));
}

}  // namespace
}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/protocol.h"

#include <array>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

namespace gc::peer {
namespace {

using namespace std::chrono_literals;

class Link : public testing::Test {
  protected:
    void SetUp() override {
        std::array<int, 2> ends{};
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        ours.reset(ends[0]);
        theirs.reset(ends[1]);
    }
    void peer_says(std::string_view text) {
        ASSERT_TRUE(write_all(theirs.get(), std::as_bytes(std::span(text))));
    }
    UniqueFd ours, theirs;
};

TEST_F(Link, HelloArrivesAndLeavesTheChannelsBytesAlone) {
    ASSERT_TRUE(send_hello(theirs.get(), {Channel::urgent, "00ff"}));
    peer_says("QEVM");
    const Hello hello = receive_hello(ours.get(), 1s).value();
    EXPECT_EQ(hello.channel, Channel::urgent);
    EXPECT_EQ(hello.token, "00ff");
    std::array<std::byte, 8> rest{};
    EXPECT_EQ(read_some(ours.get(), rest).value(), 4U);
}

TEST_F(Link, HelloOfAnotherVersionIsNamed) {
    peer_says(R"({"guidecopy": 2, "channel": "main"})"
              "\n");
    const auto hello = receive_hello(ours.get(), 1s);
    ASSERT_FALSE(hello);
    EXPECT_NE(hello.error().message.find("version 2"), std::string::npos);
}

TEST_F(Link, HelloThatIsNone) {
    for (const char* text : {"GET / HTTP/1.1\n", "{}\n",
                             R"({"guidecopy":3,"channel":"other"})"
                             "\n",
                             "[]\n"}) {
        peer_says(text);
        EXPECT_EQ(receive_hello(ours.get(), 1s).error().kind, ErrorKind::protocol) << text;
    }
}

TEST_F(Link, HelloWithoutEndIsNotReadForEver) {
    peer_says(std::string(1000, 'x'));
    EXPECT_EQ(receive_hello(ours.get(), 1s).error().kind, ErrorKind::protocol);
}

TEST_F(Link, SilentPeerIsGivenUp) {
    EXPECT_EQ(receive_hello(ours.get(), 10ms).error().kind, ErrorKind::io);
}

TEST_F(Link, ControlMessagesComeWholeAndInOrder) {
    Control control(std::move(ours));
    EXPECT_FALSE(control.receive(0ms).value());
    peer_says(R"({"type":"ready","qemu":"7.2"})"
              "\n"
              R"({"type":"res)");
    EXPECT_EQ(control.receive(1s).value()->at("qemu"), "7.2");
    EXPECT_FALSE(control.receive(0ms).value());
    peer_says("umed\"}\n");
    EXPECT_EQ(control.receive(1s).value()->at("type"), "resumed");
}

TEST_F(Link, ControlTellsOfALostPeer) {
    Control control(std::move(ours));
    theirs.reset();
    EXPECT_EQ(control.receive(1s).error().kind, ErrorKind::io);
}

TEST_F(Link, ControlRefusesWhatIsNoMessage) {
    Control control(std::move(ours));
    for (const char* text : {"hello\n", "{\"kind\": 1}\n", "7\n"}) {
        peer_says(text);
        EXPECT_EQ(control.receive(1s).error().kind, ErrorKind::protocol) << text;
    }
}

TEST(Token, IsFreshEachTime) {
    const std::string first = make_token().value();
    EXPECT_EQ(first.size(), 32U);
    EXPECT_NE(first, make_token().value());
}

}  // namespace
}  // namespace gc::peer

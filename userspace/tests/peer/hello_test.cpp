// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/hello.h"

#include "socket_pair.h"

#include <gmock/gmock.h>

namespace gc::peer {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class Greeting : public SocketPair {};

TEST_F(Greeting, ArrivesAndLeavesTheChannelsBytesAlone) {
    const Token token = make_token().value();
    ASSERT_TRUE(send_hello(theirs, {.channel = ChannelId::urgent, .token = token}));
    peer_says("QEVM");
    const Hello hello = receive_hello(ours, 1s).value();
    EXPECT_EQ(hello.channel, ChannelId::urgent);
    EXPECT_EQ(hello.token, token);
    EXPECT_EQ(agree(hello).value(), newest_version);
    std::array<std::byte, 8> rest{};
    EXPECT_EQ(ours.read_some(rest).value(), 4U);
}

TEST_F(Greeting, OfVersion3HasNoRange) {
    peer_says(R"({"guidecopy":3,"channel":"main","token":"0123456789abcdef0123456789abcdef"})"
              "\n");
    EXPECT_EQ(agree(receive_hello(ours, 1s).value()).value(), 3);
}

TEST(Versions, OneOlderOrNewerWorks) {
    EXPECT_EQ(agree({.oldest = newest_version - 1, .newest = newest_version - 1}).value(),
              newest_version - 1);
    EXPECT_EQ(agree({.oldest = newest_version, .newest = newest_version + 1}).value(),
              newest_version);
}

TEST(Versions, OthersAreRefusedWithBothNamed) {
    const auto newer = agree({.oldest = newest_version + 1, .newest = newest_version + 2});
    ASSERT_FALSE(newer);
    EXPECT_THAT(newer.error().message, HasSubstr("expected version 3 to 10"));
    EXPECT_THAT(newer.error().message, HasSubstr("speaks version 11 to 12"));
    EXPECT_THAT(agree({.oldest = 2, .newest = 2}).error().message, HasSubstr("speaks version 2;"));
}

TEST_F(Greeting, WhatIsNoHelloIsAnError) {
    for (const char* text :
         {"GET / HTTP/1.1\n", "{}\n", "[]\n", "\xff\xfe\n",
          R"({"guidecopy":3,"channel":"other","token":"0123456789abcdef0123456789abcdef"})"
          "\n",
          R"({"guidecopy":3,"channel":"main"})"
          "\n",
          R"({"guidecopy":3,"channel":"main","token":""})"
          "\n",
          R"({"guidecopy":"3","channel":"main","token":"0123456789abcdef0123456789abcdef"})"
          "\n"}) {
        peer_says(text);
        EXPECT_EQ(receive_hello(ours, 1s).error().kind, ErrorKind::protocol) << text;
    }
}

TEST_F(Greeting, WithoutEndIsNotReadForEver) {
    peer_says(std::string(1000, 'x'));
    EXPECT_EQ(receive_hello(ours, 1s).error().kind, ErrorKind::protocol);
}

TEST_F(Greeting, SilentPeerIsGivenUp) {
    EXPECT_EQ(receive_hello(ours, 10ms).error().kind, ErrorKind::io);
}

TEST(TokenTest, IsFreshEachTime) {
    EXPECT_NE(make_token().value(), make_token().value());
}

}  // namespace
}  // namespace gc::peer

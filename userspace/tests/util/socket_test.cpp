// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/private_socket.h"
#include "util/socket.h"

#include <array>
#include <filesystem>
#include <gtest/gtest.h>
#include <unistd.h>

namespace gc {
namespace {

using namespace std::chrono_literals;

TEST(Endpoint, Parses) {
    const auto plain = Endpoint::parse("192.0.2.7:4444").value();
    EXPECT_EQ(plain.host, "192.0.2.7");
    EXPECT_EQ(plain.port, "4444");
    const auto six = Endpoint::parse("[2001:db8::1]:22").value();
    EXPECT_EQ(six.host, "2001:db8::1");
    EXPECT_EQ(six.str(), "[2001:db8::1]:22");
}

TEST(Endpoint, RefusesWhatHasNoPort) {
    for (const char* text : {"", "host", "host:"})
        EXPECT_EQ(Endpoint::parse(text).error().kind, ErrorKind::usage) << text;
}

TEST(Tcp, ConnectsAndCarries) {
    const UniqueFd listener = tcp_listen({"127.0.0.1", "0"}).value();
    const auto port = local_port(listener.get()).value();
    const UniqueFd client = tcp_connect({"127.0.0.1", std::to_string(port)}, 1s).value();
    const UniqueFd server = accept_one(listener.get(), 1s).value();
    const std::array<std::byte, 3> sent{std::byte{1}, std::byte{2}, std::byte{3}};
    ASSERT_TRUE(write_all(client.get(), sent));
    std::array<std::byte, 3> got{};
    EXPECT_EQ(read_some(server.get(), got).value(), 3U);
    EXPECT_EQ(got, sent);
}

TEST(Tcp, RefusedConnectionNamesThePeer) {
    UniqueFd listener = tcp_listen({"127.0.0.1", "0"}).value();
    const auto port = local_port(listener.get()).value();
    listener.reset();
    const auto fd = tcp_connect({"127.0.0.1", std::to_string(port)}, 1s);
    ASSERT_FALSE(fd);
    EXPECT_NE(fd.error().message.find(std::to_string(port)), std::string::npos);
}

TEST(Accept, GivesUpInTime) {
    const UniqueFd listener = tcp_listen({"127.0.0.1", "0"}).value();
    EXPECT_FALSE(accept_one(listener.get(), 10ms));
}

TEST(PrivateListener, LeavesNothingBehind) {
    std::string path;
    {
        PrivateListener listener = PrivateListener::make(::getpid()).value();
        path = listener.uri().substr(5);
        EXPECT_TRUE(std::filesystem::exists(path));
        const auto mode =
            std::filesystem::status(std::filesystem::path(path).parent_path()).permissions();
        EXPECT_EQ(mode, std::filesystem::perms::owner_all);
        const UniqueFd peer = unix_connect(path, 1s).value();
        EXPECT_TRUE(listener.accept(1s));
    }
    EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(path).parent_path()));
}

}  // namespace
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/socket.h"

#include <array>
#include <cerrno>
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>  // FIONREAD, which SIOCINQ is
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace gc::util {
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

TEST(Endpoint, LoopbackIsThisHostOnly) {
    for (const char* host : {"127.0.0.1", "127.8.8.8", "::1"})
        EXPECT_TRUE(is_loopback({host, "4444"}, true).value()) << host;
    for (const char* host : {"0.0.0.0", "::", "192.0.2.7", "2001:db8::1", ""})
        EXPECT_FALSE(is_loopback({host, "4444"}, true).value()) << host;
    EXPECT_TRUE(is_loopback({"", "4444"}, false).value()) << "connects to this host";
    EXPECT_FALSE(is_loopback({"host.invalid", "4444"}, false));
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

TEST(QueuedBytes, AreTheUnreadAndTheUnacknowledged) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    const UniqueFd writer(ends[0]), reader(ends[1]);
    EXPECT_EQ(queued_bytes(reader.get(), SIOCINQ), 0U);
    EXPECT_EQ(queued_bytes(writer.get(), SIOCOUTQ), 0U);
    const std::array<std::byte, 3> sent{};
    ASSERT_TRUE(write_all(writer.get(), sent));
    EXPECT_EQ(queued_bytes(reader.get(), SIOCINQ), 3U);
    EXPECT_GE(queued_bytes(writer.get(), SIOCOUTQ), 3U) << "unix(7) counts the buffers too";
    std::array<std::byte, 2> got{};
    ASSERT_EQ(read_some(reader.get(), got).value(), 2U);
    EXPECT_EQ(queued_bytes(reader.get(), SIOCINQ), 1U);
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

TEST(Unix, RefusesPathsThatDoNotFit) {
    EXPECT_EQ(unix_connect("", 0ms).error().kind, ErrorKind::usage);
    EXPECT_EQ(unix_connect(std::string(108, 'p'), 0ms).error().message,
              fmt::format("invalid unix socket path '{}' (expected 1 to 107 bytes)",
                          std::string(108, 'p')));
}

TEST(Unix, ReportsAFullBacklog) {
    const std::string path = testing::TempDir() + fmt::format("backlog-{}", ::getpid());
    const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener.get(), 4), 0);
    std::vector<UniqueFd> waiting;
    for (auto next = unix_connect(path, 0ms);; next = unix_connect(path, 0ms)) {
        if (!next) {
            EXPECT_EQ(next.error().error_number, EAGAIN) << next.error().message;
            break;
        }
        waiting.push_back(std::move(*next));
        ASSERT_LT(waiting.size(), 100U);
    }
    EXPECT_TRUE(accept_one(listener.get(), 1s));
    EXPECT_TRUE(unix_connect(path, 1s)) << "there is room again";
    ::unlink(path.c_str());
}

}  // namespace
}  // namespace gc::util

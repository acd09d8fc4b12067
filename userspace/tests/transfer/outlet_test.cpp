// SPDX-License-Identifier: GPL-2.0-or-later
// What a policy sees of a connection: the mark of the bytes queued in its socket. Setting marks
// needs CAP_NET_ADMIN.
#include "transfer/backlog.h"
#include "transfer/outlet.h"

#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace gc::transfer {
namespace {

constexpr Marks marks{103, 100, 101, 102, 103};
constexpr std::size_t max_taken = std::size_t{1} << 20;  ///< more than the reader's buffer

class Connected : public testing::Test {
  protected:
    void SetUp() override {
        const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        // A small window, so that written bytes stay queued in the writer's socket.
        const int small = 4096, large = 4 * static_cast<int>(max_taken);
        ::setsockopt(listener.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        ASSERT_EQ(::bind(listener.get(), generic, length), 0);
        ASSERT_EQ(::listen(listener.get(), 1), 0);
        ASSERT_EQ(::getsockname(listener.get(), generic, &length), 0);
        UniqueFd writer(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        ::setsockopt(writer.get(), SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
        ASSERT_EQ(::connect(writer.get(), generic, length), 0);
        reader.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        ASSERT_TRUE(reader);
        const std::uint32_t any = 1;
        if (::setsockopt(writer.get(), SOL_SOCKET, SO_MARK, &any, sizeof any) < 0)
            GTEST_SKIP() << "no CAP_NET_ADMIN";
        channel = peer::Channel::raw(std::move(writer)).value();
        outlet.emplace(channel.get(), marks);
    }

    void write(ledger::PageClass as, std::size_t size) {
        std::vector<std::byte> bytes(size);
        std::array<iovec, 1> parts{{{bytes.data(), bytes.size()}}};
        ASSERT_TRUE(outlet->write(as, parts));
    }

    /// Waits until everything written has arrived.
    void read_all() {
        std::vector<std::byte> bytes(max_taken);
        while (read < outlet->written()) {
            const auto got = read_some(reader.get(), bytes);
            ASSERT_TRUE(got && *got > 0);
            read += *got;
        }
    }

    [[nodiscard]] std::uint32_t mark() const {
        std::uint32_t mark = 0;
        socklen_t length = sizeof mark;
        EXPECT_EQ(::getsockopt(outlet->socket(), SOL_SOCKET, SO_MARK, &mark, &length), 0);
        return mark;
    }

    std::unique_ptr<peer::Channel> channel;
    std::optional<Outlet> outlet;
    UniqueFd reader;
    std::uint64_t read = 0;
};

TEST_F(Connected, AllThatWaitsHasTheMarkOfWhatWasWrittenLast) {
    for (const ledger::PageClass as : {ledger::PageClass::background, ledger::PageClass::guide,
                                       ledger::PageClass::urgent, ledger::PageClass::warm}) {
        write(as, 10);
        EXPECT_EQ(mark(), marks[as]);
    }
}

TEST_F(Connected, SentIsWhatTcpHasSent) {
    write(ledger::PageClass::guide, max_taken);
    EXPECT_EQ(outlet->written(), max_taken);
    EXPECT_LT(outlet->sent(), max_taken);
    read_all();
    EXPECT_EQ(outlet->sent(), max_taken);
}

TEST_F(Connected, SendsWhatIsInAFileFromThere) {
    const UniqueFd file(::memfd_create("pages", MFD_CLOEXEC));
    ASSERT_TRUE(write_all(file.get(), std::as_bytes(std::span("0123456789", 10))));
    std::array<char, 2> text{'a', 'b'};
    std::array<iovec, 2> parts{{{}, {text.data(), text.size()}}};
    const std::array<FileRun, 2> runs{{{file.get(), 7, 3}, {file.get(), 1, 2}}};
    ASSERT_TRUE(outlet->write_frame(ledger::PageClass::warm, peer::FrameKind::split, parts, runs));
    EXPECT_EQ(mark(), marks[ledger::PageClass::warm]);
    std::array<std::byte, peer::frame_head_size> head{};
    std::array<std::byte, 7> body{};
    ASSERT_TRUE(read_whole(reader.get(), head).value());
    ASSERT_TRUE(read_whole(reader.get(), body).value());
    EXPECT_EQ(peer::decode(head).value(), (peer::FrameHead{peer::FrameKind::split, body.size()}));
    EXPECT_EQ(std::memcmp(body.data(), "ab78912", body.size()), 0);
    EXPECT_EQ(outlet->written(), head.size() + body.size());
}

TEST_F(Connected, SaysThatAFileEndsBeforeWhatWasToBeSent) {
    const UniqueFd file(::memfd_create("pages", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), 10), 0);
    const std::array<FileRun, 1> runs{{{file.get(), 7, 4}}};
    const auto written = outlet->write(ledger::PageClass::warm, {}, runs);
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().message.find("ends at byte 10"), std::string::npos);
}

TEST_F(Connected, IsWritableWhileLessWaitsThanIsLetThrough) {
    outlet->limit_unsent(8192);
    EXPECT_TRUE(outlet->writable());
    std::thread writer([&] { write(ledger::PageClass::guide, max_taken); });
    while (outlet->written() == 0 || outlet->writable())
        std::this_thread::yield();
    read_all();
    writer.join();
    EXPECT_TRUE(outlet->writable());
}

TEST_F(Connected, KnowsWhatRateItCarries) {
    EXPECT_EQ(outlet->delivery_rate(), 0U);
    write(ledger::PageClass::guide, max_taken);
    read_all();
    EXPECT_GT(outlet->delivery_rate(), 0U);
}

TEST_F(Connected, WhatHurriesIsUrgentUntilItIsSent) {
    write(ledger::PageClass::guide, max_taken);
    outlet->hurry(max_taken);
    EXPECT_EQ(mark(), marks[ledger::PageClass::urgent]) << "what is already queued";
    write(ledger::PageClass::guide, 10);
    EXPECT_EQ(mark(), marks[ledger::PageClass::urgent]) << "it is still queued";
    read_all();
    write(ledger::PageClass::guide, 10);
    EXPECT_EQ(mark(), marks[ledger::PageClass::guide]);
}

TEST(Backlog, KnowsWhereAWaitingPageEnds) {
    Backlog backlog;
    const std::array<PageRef, 2> first{{{0, 1}, {1, 1}}};
    const std::array<PageRef, 1> second{{{0, 2}}};
    EXPECT_FALSE(backlog.add(first, 100));
    EXPECT_FALSE(backlog.add(second, 150));
    EXPECT_EQ(backlog.want({1, 1}), 100U);
    EXPECT_EQ(backlog.want({0, 2}), 150U);
    EXPECT_EQ(backlog.want({1, 2}), std::nullopt);
    backlog.sent(99);
    EXPECT_EQ(backlog.want({0, 1}), 100U);
    backlog.sent(100);
    EXPECT_EQ(backlog.want({0, 1}), std::nullopt);
    EXPECT_EQ(backlog.want({0, 2}), 150U);
}

TEST(Backlog, SaysWhenAPageComesThatWasWantedBefore) {
    Backlog backlog;
    EXPECT_EQ(backlog.want({0, 2}), std::nullopt);
    const std::array<PageRef, 1> other{{{0, 1}}};
    const std::array<PageRef, 2> wanted{{{0, 3}, {0, 2}}};
    EXPECT_FALSE(backlog.add(other, 10));
    EXPECT_TRUE(backlog.add(wanted, 20));
    EXPECT_FALSE(backlog.add(wanted, 30)) << "once";
}

}  // namespace
}  // namespace gc::transfer

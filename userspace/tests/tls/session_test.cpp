// SPDX-License-Identifier: GPL-2.0-or-later
// Each test runs with encryption in user space and, where the kernel has it, by the kernel.
#include "tls/session.h"

#include "session_pair.h"
#include "tls/kernel_tls.h"
#include "util/poll.h"

#include <array>
#include <fcntl.h>
#include <future>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gc::tls {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

using Bytes = std::vector<std::byte>;

Bytes random_bytes(std::size_t size) {
    std::minstd_rand random(static_cast<unsigned>(size));
    Bytes bytes(size);
    for (std::byte& byte : bytes)
        byte = static_cast<std::byte>(random());
    return bytes;
}

Bytes read_exactly(Session& session, std::size_t size) {
    Bytes bytes(size);
    for (std::size_t have = 0; have < size;) {
        const auto got = session.read_some(std::span(bytes).subspan(have));
        if (!got || *got == 0) {
            ADD_FAILURE() << (got ? "end of file" : got.error().message) << " after " << have;
            return {};
        }
        have += *got;
    }
    return bytes;
}

class TlsData : public testing::TestWithParam<bool> {
  protected:
    void SetUp() override {
        if (GetParam() && !can_test_kernel())
            GTEST_SKIP() << "this kernel has no TLS (modprobe tls)";
    }
    static SessionPair connect(SessionOptions options = {}) {
        options.use_kernel = GetParam();
        PairOptions both;
        both.client = both.server = options;
        SessionPair pair = shake(hosts().client(), hosts().server(), both);
        EXPECT_TRUE(pair.client && pair.server);
        EXPECT_EQ(pair.client->kernel_sends(), GetParam());
        EXPECT_EQ(pair.server->kernel_sends(), GetParam());
        return pair;
    }
    /// A pair with somebody between.
    static SessionPair connect(Middle& middle) {
        PairOptions both;
        both.client.use_kernel = both.server.use_kernel = GetParam();
        SessionPair pair = shake(middle.take_ends(), hosts().client(), hosts().server(), both);
        EXPECT_TRUE(pair.client && pair.server);
        return pair;
    }
};

INSTANTIATE_TEST_SUITE_P(By, TlsData, testing::Bool(),
                         [](const auto& test) { return test.param ? "Kernel" : "UserSpace"; });

TEST_P(TlsData, CarriesParts) {
    SessionPair pair = connect();
    const Bytes bytes = random_bytes(200'000);
    // Small parts, empty ones and large ones.
    const std::array<std::size_t, 8> sizes{1, 0, 16'383, 2, 65'536, 17, 100'000, 18'061};
    std::vector<iovec> parts;
    std::size_t at = 0;
    for (const std::size_t size : sizes) {
        parts.push_back({const_cast<std::byte*>(bytes.data()) + at, size});
        at += size;
    }
    ASSERT_EQ(at, bytes.size());
    auto writing = std::async(std::launch::async, [&] { return pair.client->write(parts); });
    EXPECT_EQ(read_exactly(*pair.server, bytes.size()), bytes);
    EXPECT_TRUE(writing.get());
    // The other direction too.
    ASSERT_TRUE(pair.server->write(std::span(bytes).first(100)));
    EXPECT_EQ(read_exactly(*pair.client, 100), Bytes(bytes.begin(), bytes.begin() + 100));
}

TEST_P(TlsData, SendsFiles) {
    SessionPair pair = connect();
    const Bytes bytes = random_bytes(300'001);
    const UniqueFd file(::memfd_create("file", MFD_CLOEXEC));
    ASSERT_TRUE(write_all(file.get(), bytes));
    auto writing = std::async(std::launch::async,
                              [&] { return pair.client->send_file(file.get(), 4097, 250'000); });
    EXPECT_EQ(read_exactly(*pair.server, 250'000),
              Bytes(bytes.begin() + 4097, bytes.begin() + 254'097));
    EXPECT_TRUE(writing.get());
    EXPECT_FALSE(pair.client->send_file(file.get(), 300'000, 2)) << "the file ends early";
}

TEST_P(TlsData, WhatHasMoreToFollowSharesARecord) {
    Middle middle;
    SessionPair pair = connect(middle);
    std::atomic<unsigned> records = 0;
    middle.set_edit([&](const Middle::Record& record) {
        ++records;
        return Middle::Records{record};
    });
    const Bytes bytes = random_bytes(3000);
    const UniqueFd file(::memfd_create("file", MFD_CLOEXEC));
    ASSERT_TRUE(write_all(file.get(), bytes));
    iovec header{const_cast<std::byte*>(bytes.data()), 1000};
    ASSERT_TRUE(pair.client->write(std::span(&header, 1), true));
    ASSERT_TRUE(pair.client->send_file(file.get(), 1000, 2000));
    EXPECT_EQ(read_exactly(*pair.server, 3000), bytes);
    EXPECT_EQ(records, 1U);
}

TEST_P(TlsData, EndDoesNotWaitForAnotherWriter) {
    SessionPair pair = connect();
    const Bytes bytes = random_bytes(16 << 20);
    auto writing = std::async(std::launch::async, [&] { return pair.client->write(bytes); });
    std::this_thread::sleep_for(50ms);
    const auto begin = std::chrono::steady_clock::now();
    pair.client->end();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
    ::shutdown(pair.sockets.client.get(), SHUT_WR);
    EXPECT_FALSE(writing.get());
    Result<std::size_t> got = 1;
    for (Bytes into(1 << 20); got && *got > 0;)
        got = pair.server->read_some(into);
    EXPECT_FALSE(got) << "not an orderly end";
}

TEST_P(TlsData, EndsOrderly) {
    SessionPair pair = connect();
    const Bytes bytes = random_bytes(1000);
    ASSERT_TRUE(pair.client->write(bytes));
    pair.client->end();
    EXPECT_EQ(read_exactly(*pair.server, 1000), bytes);
    std::array<std::byte, 10> more{};
    EXPECT_EQ(pair.server->read_some(more).value(), 0U);
    EXPECT_EQ(pair.server->read_some(more).value(), 0U);
    // The other direction is still open.
    ASSERT_TRUE(pair.server->write(bytes));
    EXPECT_EQ(read_exactly(*pair.client, 1000), bytes);
}

TEST_P(TlsData, PendingBytesAreThoseThatPollDoesNotShow) {
    SessionPair pair = connect();
    ASSERT_TRUE(pair.client->write(random_bytes(1000)));
    EXPECT_FALSE(pair.server->pending());
    (void)read_exactly(*pair.server, 400);
    EXPECT_TRUE(pair.server->pending());
    EXPECT_FALSE(wait_readable(pair.sockets.server.get(), 0ms).value());
    (void)read_exactly(*pair.server, 600);
    EXPECT_FALSE(pair.server->pending());
}

TEST_P(TlsData, ARecordThatWasReceivedWithAnotherIsPending) {
    SessionPair pair = connect();
    ASSERT_TRUE(pair.client->write(random_bytes(100)));
    ASSERT_TRUE(pair.client->write(random_bytes(50)));
    // Both must be there before the first one is read.
    ASSERT_TRUE(wait_readable(pair.sockets.server.get(), 5s).value());
    std::this_thread::sleep_for(50ms);
    (void)read_exactly(*pair.server, 100);
    EXPECT_TRUE(pair.server->pending() || wait_readable(pair.sockets.server.get(), 0ms).value());
    (void)read_exactly(*pair.server, 50);
    EXPECT_FALSE(pair.server->pending());
}

TEST_P(TlsData, APartOfARecordIsNotPending) {
    Middle middle;
    SessionPair pair = connect(middle);
    // The first record comes with the beginning of the second one.
    std::vector<Middle::Record> held;
    middle.set_edit([&](const Middle::Record& record) {
        held.push_back(record);
        if (held.size() == 1)
            return Middle::Records{};
        Middle::Record both = held[0];
        both.insert(both.end(), record.begin(), record.begin() + 20);
        return Middle::Records{both};
    });
    const Bytes bytes = random_bytes(150);
    ASSERT_TRUE(pair.client->write(std::span(bytes).first(100)));
    ASSERT_TRUE(pair.client->write(std::span(bytes).subspan(100)));
    EXPECT_EQ(read_exactly(*pair.server, 100), Bytes(bytes.begin(), bytes.begin() + 100));
    EXPECT_FALSE(pair.server->pending()) << "it cannot be read";
    EXPECT_FALSE(wait_readable(pair.sockets.server.get(), 0ms).value());
    std::array<std::byte, 50> rest{};
    EXPECT_EQ(pair.server->try_read(rest).value(), std::nullopt);
    middle.set_edit([&](const Middle::Record& record) {
        return Middle::Records{Middle::Record(held[1].begin() + 20, held[1].end()), record};
    });
    ASSERT_TRUE(pair.client->write(std::span(bytes).first(10)));
    EXPECT_EQ(read_exactly(*pair.server, 50), Bytes(bytes.begin() + 100, bytes.end()));
    EXPECT_EQ(read_exactly(*pair.server, 10), Bytes(bytes.begin(), bytes.begin() + 10));
}

TEST_P(TlsData, TryReadDoesNotWait) {
    SessionPair pair = connect();
    std::array<std::byte, 10> bytes{};
    EXPECT_EQ(pair.server->try_read(bytes).value(), std::nullopt);
    ASSERT_TRUE(pair.client->write(random_bytes(10)));
    ASSERT_TRUE(wait_readable(pair.sockets.server.get(), 5s).value());
    EXPECT_EQ(pair.server->try_read(bytes).value(), 10U);
}

TEST_P(TlsData, ACutIsAnErrorAfterTheBytesBeforeIt) {
    Middle middle;
    SessionPair pair = connect(middle);
    ASSERT_TRUE(pair.client->write(random_bytes(100)));
    (void)read_exactly(*pair.server, 100);
    middle.cut();
    std::array<std::byte, 10> bytes{};
    const auto got = pair.server->read_some(bytes);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().kind, ErrorKind::io);
    EXPECT_THAT(got.error().message, HasSubstr("the connection was cut"));
    // Twice: the state stays.
    EXPECT_FALSE(pair.server->read_some(bytes));
}

/// What the server reads after this edit of the record that the client sends second.
Result<std::size_t> read_after(Session& client, Session& server, Middle& middle,
                               Middle::Edit edit) {
    EXPECT_TRUE(client.write(random_bytes(100)));
    (void)read_exactly(server, 100);
    middle.set_edit(std::move(edit));
    EXPECT_TRUE(client.write(random_bytes(50)));
    EXPECT_TRUE(client.write(random_bytes(60)));
    std::array<std::byte, 200> bytes{};
    return server.read_some(bytes);
}

TEST_P(TlsData, AnAlteredRecordIsNeverData) {
    for (const std::size_t bit : {5 * 8 + 0, 20 * 8 + 3, 60 * 8 + 7}) {
        Middle middle;
        SessionPair pair = connect(middle);
        const auto got = read_after(*pair.client, *pair.server, middle, [&](Middle::Record record) {
            record[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
            return Middle::Records{record};
        });
        ASSERT_FALSE(got);
        EXPECT_EQ(got.error().kind, ErrorKind::protocol);
        EXPECT_THAT(got.error().message, HasSubstr("a record was altered on its way"));
    }
}

TEST_P(TlsData, ALostRecordIsAnError) {
    Middle middle;
    SessionPair pair = connect(middle);
    bool dropped = false;
    const auto got = read_after(*pair.client, *pair.server, middle, [&](Middle::Record record) {
        return std::exchange(dropped, true) ? Middle::Records{record} : Middle::Records{};
    });
    EXPECT_FALSE(got);
}

TEST_P(TlsData, RecordsInAnotherOrderAreAnError) {
    Middle middle;
    SessionPair pair = connect(middle);
    Middle::Record held;
    const auto got = read_after(*pair.client, *pair.server, middle, [&](Middle::Record record) {
        if (held.empty()) {
            held = record;
            return Middle::Records{};
        }
        return Middle::Records{record, held};
    });
    EXPECT_FALSE(got);
}

TEST_P(TlsData, ARepeatedRecordIsAnError) {
    Middle middle;
    SessionPair pair = connect(middle);
    std::array<std::byte, 50> bytes{};
    middle.set_edit([](const Middle::Record& record) { return Middle::Records{record, record}; });
    ASSERT_TRUE(pair.client->write(random_bytes(50)));
    (void)read_exactly(*pair.server, 50);
    EXPECT_FALSE(pair.server->read_some(bytes));
}

TEST_P(TlsData, AWriterWaitsForItsReader) {
    SessionPair pair = connect();
    const Bytes bytes = random_bytes(16 << 20);  // more than the sockets hold
    auto writing = std::async(std::launch::async, [&] { return pair.client->write(bytes); });
    EXPECT_EQ(writing.wait_for(100ms), std::future_status::timeout);
    EXPECT_EQ(read_exactly(*pair.server, bytes.size()), bytes);
    EXPECT_TRUE(writing.get());
}

TEST_P(TlsData, ABlockedReaderDoesNotHoldUpAWriter) {
    SessionPair pair = connect();
    std::array<std::byte, 10> bytes{};
    auto reading = std::async(std::launch::async, [&] { return pair.client->read_some(bytes); });
    std::this_thread::sleep_for(50ms);
    ASSERT_TRUE(pair.client->write(random_bytes(1000)));
    (void)read_exactly(*pair.server, 1000);
    ::shutdown(pair.sockets.client.get(), SHUT_RDWR);
    EXPECT_FALSE(reading.get()) << "shutdown(2) ends the wait";
}

TEST_P(TlsData, ABlockedWriterDoesNotHoldUpAReader) {
    SessionPair pair = connect();
    const Bytes bytes = random_bytes(16 << 20);
    auto writing = std::async(std::launch::async, [&] { return pair.client->write(bytes); });
    std::this_thread::sleep_for(50ms);
    ASSERT_TRUE(pair.server->write(random_bytes(1000)));
    (void)read_exactly(*pair.client, 1000);
    ::shutdown(pair.sockets.client.get(), SHUT_RDWR);
    EXPECT_FALSE(writing.get()) << "shutdown(2) ends the wait";
}

TEST_P(TlsData, BothDirectionsAtOnce) {
    SessionPair pair = connect();
    const Bytes forward = random_bytes(24 << 20), back = random_bytes((24 << 20) + 1);
    const auto write = [](Session& session, const Bytes& bytes) {
        return std::async(std::launch::async, [&session, &bytes] {
            // Sizes that neither fill nor fit records.
            for (std::size_t at = 0; at < bytes.size();) {
                const std::size_t size =
                    std::min<std::size_t>(bytes.size() - at, 4097 + at % 50'000);
                if (!session.write(std::span(bytes).subspan(at, size)))
                    return false;
                at += size;
            }
            return true;
        });
    };
    auto first = write(*pair.client, forward), second = write(*pair.server, back);
    auto reading =
        std::async(std::launch::async, [&] { return read_exactly(*pair.client, back.size()); });
    EXPECT_EQ(read_exactly(*pair.server, forward.size()), forward);
    EXPECT_EQ(reading.get(), back);
    EXPECT_TRUE(first.get());
    EXPECT_TRUE(second.get());
}

TEST_P(TlsData, WorksOnSocketsThatDoNotBlock) {
    Sockets sockets = tcp_pair();
    for (const int fd : {sockets.client.get(), sockets.server.get()})
        ASSERT_EQ(::fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    PairOptions both;
    both.client.use_kernel = both.server.use_kernel = GetParam();
    SessionPair pair = shake(std::move(sockets), hosts().client(), hosts().server(), both);
    ASSERT_TRUE(pair.client && pair.server);
    const Bytes bytes = random_bytes(8 << 20);
    auto writing = std::async(std::launch::async, [&] { return pair.client->write(bytes); });
    EXPECT_EQ(read_exactly(*pair.server, bytes.size()), bytes);
    EXPECT_TRUE(writing.get());
    const UniqueFd file(::memfd_create("file", MFD_CLOEXEC));
    ASSERT_TRUE(write_all(file.get(), bytes));
    writing = std::async(std::launch::async,
                         [&] { return pair.client->send_file(file.get(), 0, bytes.size()); });
    EXPECT_EQ(read_exactly(*pair.server, bytes.size()), bytes);
    EXPECT_TRUE(writing.get());
}

// The limit of records per key.

TEST(TlsKeys, AreChangedAtTheLimit) {
    constexpr std::uint64_t limit = 10;
    PairOptions both;
    both.client = both.server = {.use_kernel = false, .max_records = limit};
    Middle middle;
    std::atomic<unsigned> records = 0;
    SessionPair pair = shake(middle.take_ends(), hosts().client(), hosts().server(), both);
    ASSERT_TRUE(pair.client && pair.server);
    middle.set_edit([&](const Middle::Record& record) {
        ++records;
        return Middle::Records{record};
    });
    EXPECT_EQ(pair.client->records_left(), std::nullopt);
    // GnuTLS accepts one new key per second.
    for (unsigned key = 0; key < 3; ++key) {
        for (unsigned record = 0; record < limit; ++record) {
            const Bytes bytes = random_bytes(100 + record);
            ASSERT_TRUE(pair.client->write(bytes));
            ASSERT_EQ(read_exactly(*pair.server, bytes.size()), bytes);
        }
        EXPECT_EQ(records, key * (limit + 1) + limit) << "each later key costs a record";
        std::this_thread::sleep_for(1100ms);
    }
    // The server's key is changed by itself.
    for (unsigned record = 0; record < limit; ++record) {
        const Bytes bytes = random_bytes(100 + record);
        ASSERT_TRUE(pair.server->write(bytes));
        ASSERT_EQ(read_exactly(*pair.client, bytes.size()), bytes);
    }
}

TEST(TlsKeys, AreChangedWhileBothEndsReadAndWrite) {
    constexpr std::uint64_t limit = 300;
    PairOptions both;
    both.client = both.server = {.use_kernel = false, .max_records = limit};
    SessionPair pair = shake(hosts().client(), hosts().server(), both);
    ASSERT_TRUE(pair.client && pair.server);
    const Bytes bytes = random_bytes(4 << 20);  // 256 records
    const auto write = [&](Session& session) {
        return std::async(std::launch::async, [&] {
            for (unsigned round = 0; round < 3; ++round) {
                if (!session.write(bytes))
                    return false;
                std::this_thread::sleep_for(1100ms);
            }
            return true;
        });
    };
    auto first = write(*pair.client), second = write(*pair.server);
    auto reading = std::async(std::launch::async,
                              [&] { return read_exactly(*pair.client, 3 * bytes.size()); });
    EXPECT_EQ(read_exactly(*pair.server, 3 * bytes.size()).size(), 3 * bytes.size());
    EXPECT_EQ(reading.get().size(), 3 * bytes.size());
    EXPECT_TRUE(first.get());
    EXPECT_TRUE(second.get());
}

TEST(TlsKeys, TheKernelStopsAtTheLimit) {
    if (!can_test_kernel())
        GTEST_SKIP() << "this kernel has no TLS (modprobe tls)";
    PairOptions options;
    options.client.max_records = 10;
    SessionPair pair = shake(hosts().client(), hosts().server(), options);
    ASSERT_TRUE(pair.client && pair.server);
    EXPECT_EQ(pair.client->records_left(), 10U);
    for (unsigned record = 0; record < 10; ++record)
        ASSERT_TRUE(pair.client->write(random_bytes(10)));
    EXPECT_EQ(pair.client->records_left(), 0U);
    EXPECT_EQ(records_sent_by_kernel(pair.sockets.client.get()), 10U);
    const auto written = pair.client->write(random_bytes(10));
    ASSERT_FALSE(written);
    EXPECT_THAT(written.error().message, HasSubstr("the key has protected 10 records"));
    EXPECT_EQ(read_exactly(*pair.server, 100).size(), 100U);
}

}  // namespace
}  // namespace gc::tls

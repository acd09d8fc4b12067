// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/channel.h"

#include "bad_wire.h"
#include "bytes_of.h"
#include "eventually.h"
#include "peer/heartbeat.h"
#include "util/poll.h"

#include <csignal>
#include <cstdlib>
#include <gmock/gmock.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/mman.h>

namespace gc::peer {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Reads = Channel::Reads;

/// Reads up to the end of the stream.
std::string read_all(Channel& from, std::size_t room = 4096) {
    std::string text;
    std::vector<std::byte> buffer(room);
    for (;;) {
        const auto got = from.read_some(buffer);
        EXPECT_TRUE(got) << got.error().message;
        if (!got || *got == 0)
            return text;
        text.append(reinterpret_cast<const char*>(buffer.data()), *got);
    }
}

std::string read_text(Channel& from, std::size_t size) {
    std::string text(size, ' ');
    const auto whole = from.read_whole(std::as_writable_bytes(std::span(text)));
    EXPECT_TRUE(whole && *whole);
    return text;
}

void write_text(Channel& to, std::string_view text) {
    const auto written = to.write(bytes_of(text));
    EXPECT_TRUE(written) << written.error().message;
}

Channel::Options reading(Reads reads) {
    Channel::Options options;
    options.reads = reads;
    return options;
}

/// A file that holds this text.
UniqueFd file_of(std::string_view text) {
    UniqueFd file(::memfd_create("channel_test", MFD_CLOEXEC));
    EXPECT_TRUE(write_all(file.get(), bytes_of(text)));
    return file;
}

// ---- without faults

class EachReader : public testing::TestWithParam<Reads> {};
INSTANTIATE_TEST_SUITE_P(Channel, EachReader, testing::Values(Reads::caller, Reads::thread),
                         [](const auto& with) {
                             return with.param == Reads::caller ? "caller" : "thread";
                         });

TEST_P(EachReader, CarriesBothDirectionsToTheirEnds) {
    Link link(nullptr, reading(GetParam()), reading(GetParam()));
    ASSERT_TRUE(link.connect());
    write_text(*link.near, "there");
    write_text(*link.far, "back");
    link.near->end_writing();
    EXPECT_EQ(read_all(*link.far), "there");
    EXPECT_EQ(read_all(*link.far), "") << "the end is not the end";
    link.far->end_writing();
    EXPECT_EQ(read_all(*link.near, 3), "back");
    EXPECT_TRUE(link.near->wait_taken(soon).value());
    EXPECT_TRUE(link.far->wait_taken(soon).value());
    EXPECT_TRUE(eventually([&] { return link.near->over() && link.far->over(); }));
    link.cut();
    std::this_thread::sleep_for(10ms);
    EXPECT_EQ(link.losses, 0) << "of a connection that is not needed any more";
}

TEST_P(EachReader, ReadsWhatIsThere) {
    Link link(nullptr, reading(GetParam()), {});
    ASSERT_TRUE(link.connect());
    std::array<std::byte, 2> two{};
    EXPECT_FALSE(link.near->read_available(two).value());
    EXPECT_FALSE(wait_readable(link.near->fd(), 0ms).value());
    write_text(*link.far, "abc");
    EXPECT_TRUE(wait_readable(link.near->fd(), soon).value());
    EXPECT_EQ(link.near->read_available(two).value(), 2U);
    EXPECT_TRUE(link.near->pending());
    EXPECT_EQ(link.near->read_available(two).value(), 1U);
    EXPECT_FALSE(link.near->pending());
    EXPECT_FALSE(link.near->read_available(two).value());
    EXPECT_FALSE(wait_readable(link.near->fd(), 0ms).value());
    link.far->end_writing();
    EXPECT_TRUE(wait_readable(link.near->fd(), soon).value());
    EXPECT_TRUE(eventually([&] { return link.near->read_available(two).value() == 0U; }));
}

TEST(Channel, ARecordThatWasReceivedWithAnotherIsPending) {
    Link link(nullptr);
    ASSERT_TRUE(link.connect());
    write_text(*link.far, "ab");
    write_text(*link.far, "cd");
    EXPECT_TRUE(eventually(
        [&] { return queued_bytes(link.near->socket(), FIONREAD) == 2 * (record_head_size + 2); }));
    EXPECT_EQ(read_text(*link.near, 2), "ab");
    EXPECT_FALSE(wait_readable(link.near->fd(), 0ms).value());
    EXPECT_TRUE(link.near->pending());
    EXPECT_EQ(read_text(*link.near, 2), "cd");
    EXPECT_FALSE(link.near->pending());
}

TEST(Channel, WhatWasReceivedIsReadWithoutItsConnection) {
    Link link(nullptr);
    ASSERT_TRUE(link.connect());
    write_text(*link.far, "abcd");
    EXPECT_EQ(read_text(*link.near, 1), "a");
    ASSERT_TRUE(link.connect());
    EXPECT_EQ(read_text(*link.near, 1), "b");
    write_text(*link.far, "ef");
    EXPECT_EQ(read_text(*link.near, 4), "cdef");
}

TEST(Channel, SendsMemoryAndFilesInOrder) {
    for (const bool checksums : {true, false}) {
        Channel::Options options;
        options.checksums = checksums;
        Link link(nullptr, options, options);
        ASSERT_TRUE(link.connect());
        const UniqueFd file = file_of("0123456789");
        const std::string frozen = "frozen";
        const std::array parts{iovec{const_cast<char*>("he"), 2},
                               iovec{const_cast<char*>("ad"), 2}};
        ASSERT_TRUE(link.near->write(parts, Channel::More::yes));
        ASSERT_TRUE(link.near->send_file(file.get(), 3, 4, Channel::More::yes));
        ASSERT_TRUE(link.near->write_frozen(bytes_of(frozen), Channel::More::yes));
        ASSERT_TRUE(link.near->send_file(file.get(), 0, 1));
        link.near->end_writing();
        EXPECT_EQ(read_all(*link.far), "head3456frozen0");
    }
}

TEST(Channel, AFileThatEndsEarlyEndsTheChannel) {
    for (const bool checksums : {true, false}) {
        Channel::Options options;
        options.checksums = checksums;
        Link link(nullptr, options, options);
        ASSERT_TRUE(link.connect());
        const UniqueFd file = file_of("short");
        EXPECT_FALSE(link.near->send_file(file.get(), 3, 4));
        EXPECT_FALSE(link.near->write(bytes_of("more")));
        EXPECT_FALSE(link.near->connected());
    }
}

// ---- cuts

struct Said {
    std::string at_far, at_near;
};

/// A short conversation with every kind of write; ends both directions.
Said converse(Link& link) {
    const UniqueFd file = file_of("<file>");
    static const std::string frozen = "<frozen>";
    std::string at_far;
    std::thread far([&] {
        at_far = read_text(*link.far, 5);
        write_text(*link.far, "answer 1");
        at_far += read_all(*link.far, 7);
        write_text(*link.far, "answer 2");
        link.far->end_writing();
        EXPECT_TRUE(link.far->wait_taken(soon).value_or(false));
    });
    write_text(*link.near, "first");
    const std::string answer = read_text(*link.near, 8);
    EXPECT_TRUE(link.near->send_file(file.get(), 0, 6, Channel::More::yes));
    EXPECT_TRUE(link.near->write_frozen(bytes_of(frozen)));
    write_text(*link.near, "last");
    link.near->end_writing();
    const std::string rest = read_all(*link.near, 100);
    EXPECT_TRUE(link.near->wait_taken(soon).value_or(false));
    far.join();
    return {at_far, answer + rest};
}

void expect_conversation(Link& link) {
    const Said said = converse(link);
    EXPECT_EQ(said.at_far, "first<file><frozen>last");
    EXPECT_EQ(said.at_near, "answer 1answer 2");
}

TEST_P(EachReader, SurvivesACutAtEachByte) {
    for (const int direction : {0, 1}) {
        for (std::uint64_t bytes = 0;; ++bytes) {
            SCOPED_TRACE(testing::Message() << "direction " << direction << ", byte " << bytes);
            Link link(
                [&](int attempt) {
                    Faults faults;
                    if (attempt == 0)
                        faults.cut_after[direction] = bytes;
                    return faults;
                },
                reading(GetParam()), reading(GetParam()));
            link.keep_connected();
            expect_conversation(link);
            if (HasFailure())
                return;
            if (link.attempts == 1) {
                EXPECT_GT(bytes, 100U);
                break;
            }
        }
    }
}

TEST(Channel, FindsEachChangedByteAndSendsItAgain) {
    for (const int direction : {0, 1}) {
        for (std::uint64_t byte = 0;; ++byte) {
            SCOPED_TRACE(testing::Message() << "direction " << direction << ", byte " << byte);
            Link link([&](int attempt) {
                Faults faults;
                if (attempt == 0)
                    faults.flip_at[direction] = byte;
                return faults;
            });
            link.keep_connected();
            expect_conversation(link);
            if (HasFailure())
                return;
            if (link.attempts == 1) {
                EXPECT_GT(byte, 100U);
                break;
            }
        }
    }
}

TEST(Channel, SurvivesReplacementsThatDieInTheirTurn) {
    for (std::uint64_t first = 20; first < 120; first += 17) {
        for (const std::uint64_t second : {0, 1, 19, 20, 21, 39, 40, 41}) {
            SCOPED_TRACE(testing::Message() << "bytes " << first << " and " << second);
            Link link([&](int attempt) {
                Faults faults;
                if (attempt < 3)
                    faults.cut_after[attempt % 2] = attempt == 0 ? first : second;
                return faults;
            });
            link.keep_connected();
            expect_conversation(link);
            if (HasFailure())
                return;
        }
    }
}

/// Bytes that differ everywhere, the same for each run.
std::string noise(std::size_t size, unsigned seed) {
    std::mt19937 random(seed);
    std::string text(size, ' ');
    for (char& c : text)
        c = static_cast<char>(random());
    return text;
}

/// Writes a copy of the text that nobody but the channel holds.
Result<void> write_held(Channel& to, std::string_view text, Channel::More more) {
    const auto owner = std::make_shared<std::string>(text);
    const iovec part{owner->data(), owner->size()};
    return to.write(std::span(&part, 1), more, {bytes_of(*owner), owner});
}

/// Writes the text in pieces of random sizes and kinds.
void write_randomly(Channel& to, std::string_view text, int file, unsigned seed) {
    std::mt19937 random(seed);
    const auto map = std::make_shared<const Mapping>(
        Mapping::map(file, text.size(), PROT_READ, MAP_SHARED, 0, "a test's file").value());
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t size = std::min<std::size_t>(text.size() - at, 1 + random() % 100000);
        const auto part = bytes_of(text.substr(at, size));
        const auto more = random() % 2 == 0 ? Channel::More::yes : Channel::More::no;
        const auto kind = random() % 5;
        const HeldBytes mapped =
            kind == 3 ? HeldBytes{map->bytes().subspan(at, size), map} : HeldBytes{};
        const auto written = kind == 0   ? to.write(part, more)
                             : kind == 1 ? to.write_frozen(part, more)
                             : kind == 2 ? write_held(to, text.substr(at, size), more)
                                         : to.send_file(file, at, size, more, mapped);
        ASSERT_TRUE(written) << written.error().message;
        at += size;
    }
    to.end_writing();
}

TEST_P(EachReader, CarriesMegabytesOverABadWire) {
    std::signal(SIGPIPE, SIG_IGN);  // see gc::send_file()
    constexpr std::size_t size = std::size_t{6} << 20;
    for (const unsigned seed : {1U, 2U, 3U, 4U}) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        Link link(
            [&](int attempt) {
                Faults faults{.tcp = seed % 2 == 0};
                if (attempt > 60)
                    return faults;
                const auto direction = random() % 2;
                const std::uint64_t byte = random() % (400 << 10);
                (random() % 2 == 0 ? faults.cut_after : faults.flip_at)[direction] = byte;
                faults.cut_after[1 - direction] = random() % (800 << 10);
                return faults;
            },
            reading(GetParam()), reading(GetParam()));
        const std::string there = noise(size, seed), back = noise(size, seed + 100);
        const UniqueFd there_file = file_of(there), back_file = file_of(back);
        link.keep_connected();
        const Heartbeat heartbeat({link.near.get(), link.far.get()});
        std::thread near_writer(
            [&] { write_randomly(*link.near, there, there_file.get(), seed + 1); });
        std::thread far_writer([&] { write_randomly(*link.far, back, back_file.get(), seed + 2); });
        std::string at_near;
        std::thread near_reader([&] { at_near = read_all(*link.near, 50000); });
        const std::string at_far = read_all(*link.far, 300000);
        for (std::thread* thread : {&near_writer, &far_writer, &near_reader})
            thread->join();
        EXPECT_TRUE(at_far == there);
        EXPECT_TRUE(at_near == back);
        EXPECT_TRUE(link.near->wait_taken(soon).value_or(false));
        EXPECT_TRUE(link.far->wait_taken(soon).value_or(false));
        EXPECT_GT(link.attempts, 10);
    }
}

TEST(Channel, SendsFilesAgainFromTheFile) {
    Link link(nullptr);
    ASSERT_TRUE(link.connect());
    const std::string text = noise(1 << 20, 1);
    const UniqueFd file = file_of(text);
    const Heartbeat heartbeat({link.near.get(), link.far.get()});
    std::thread writer([&] {
        EXPECT_TRUE(link.near->send_file(file.get(), 0, text.size()));
        link.near->end_writing();
    });
    const std::string begin = read_text(*link.far, 1000);
    EXPECT_EQ(link.near->copied(), 0U);
    link.cut();
    EXPECT_TRUE(eventually([&] { return link.losses > 0; }));
    ASSERT_TRUE(link.connect());
    EXPECT_TRUE(begin + read_all(*link.far) == text);
    writer.join();
}

TEST(Channel, EachConnectionTakesThePlaceOfTheLast) {
    Link link(nullptr);
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(link.connect());
        write_text(*link.near, "there");
        write_text(*link.far, "back");
        if (i % 2 == 0)
            continue;  // left unread on a connection that is replaced
        for (int message = 0; message < 2; ++message) {
            EXPECT_EQ(read_text(*link.far, 5), "there");
            EXPECT_EQ(read_text(*link.near, 4), "back");
        }
    }
}

TEST(Channel, TheLastOfManyConnectionsWins) {
    Link link(nullptr);
    auto [first, first_peer] = socket_pair();  // its other end says nothing
    auto waiting = std::async(
        std::launch::async, [&] { return link.near->attach(Connection(std::move(first)), soon); });
    std::this_thread::sleep_for(10ms);
    ASSERT_TRUE(link.connect());
    const auto replaced = waiting.get();
    ASSERT_FALSE(replaced);
    EXPECT_THAT(replaced.error().message, HasSubstr("newer"));
    write_text(*link.near, "there");
    EXPECT_EQ(read_text(*link.far, 5), "there");
    EXPECT_EQ(link.losses, 0);
}

TEST(Channel, RefusesAPeerThatHasLostItsPosition) {
    Link link(nullptr);
    ASSERT_TRUE(link.connect());
    write_text(*link.near, "there");
    EXPECT_EQ(read_text(*link.far, 5), "there");
    link.far->tick({});
    EXPECT_TRUE(eventually([&] {
        std::array<std::byte, 1> none{};
        (void)link.near->read_available(none);
        return link.near->unacknowledged() == 0;
    }));
    auto [ours, theirs] = socket_pair();
    ASSERT_TRUE(write_all(theirs.get(), encode({.kind = RecordKind::resume, .position = 4})));
    const auto attached = link.near->attach(Connection(std::move(ours)), soon);
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().kind, ErrorKind::protocol);
    EXPECT_FALSE(link.near->connected());
}

TEST_P(EachReader, HearsOfTheEndFromAConnectionThatIsResetThen) {
    std::atomic<int> losses = 0;
    Channel::Options options = reading(GetParam());
    options.on_lost = [&](const Error&) { ++losses; };
    const auto near = Channel::create(std::move(options)).value();
    auto [ours, theirs] = tcp_pair();
    const int socket = ours.get();
    ASSERT_TRUE(write_all(theirs.get(), encode({.kind = RecordKind::resume})));
    ASSERT_TRUE(near->attach(Connection(std::move(ours)), soon));
    ASSERT_TRUE(write_all(theirs.get(), encode({.kind = RecordKind::closed})));
    const linger reset{1, 0};
    ASSERT_EQ(::setsockopt(theirs.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    theirs.reset();
    // The caller does not read, and the end of what it writes is the first to meet the reset.
    if (GetParam() == Reads::caller) {
        ASSERT_TRUE(eventually([&] { return wait_for_events(socket, POLLERR, 0ms).value(); }));
        EXPECT_FALSE(near->over());
    }
    near->end_writing();
    EXPECT_TRUE(eventually([&] { return near->over(); }));
    EXPECT_EQ(losses, 0);
}

TEST(Channel, HoldsMemoryUntilItIsTaken) {
    Channel::Options options;
    options.max_unsent = 1 << 20;
    Link link(nullptr, options);
    const auto owner = std::make_shared<std::string>(noise(100'000, 1));
    const std::string other = "[copied]";
    const std::array parts{iovec{const_cast<char*>(other.data()), other.size()},
                           iovec{owner->data(), owner->size()}};
    ASSERT_TRUE(link.near->write(parts, Channel::More::no, {bytes_of(*owner), owner}));
    EXPECT_GT(owner.use_count(), 1) << "was copied";
    EXPECT_EQ(link.near->copied(), other.size() + owner->size()) << "it takes memory, too";
    ASSERT_TRUE(link.connect());
    EXPECT_TRUE(read_text(*link.far, other.size() + owner->size()) == other + *owner);
    link.far->tick({});
    link.near->end_reading();  // from here on a thread reads acknowledgements
    EXPECT_TRUE(link.near->wait_taken(soon).value());
    EXPECT_EQ(owner.use_count(), 1);
    EXPECT_EQ(link.near->copied(), 0U);
}

TEST(Channel, HoldsNoMoreThanItMayCopy) {
    Channel::Options options;
    options.max_copied = 100'000;
    options.max_unsent = 1 << 20;
    Link link(nullptr, options);
    const std::string text = noise(300'000, 1);
    std::atomic<bool> done = false;
    std::thread writer([&] {
        EXPECT_FALSE(write_held(*link.near, text, Channel::More::no));
        done = true;
    });
    std::this_thread::sleep_for(20ms);
    EXPECT_FALSE(done);
    EXPECT_LE(link.near->copied(), options.max_copied);
    link.near->give_up({ErrorKind::io, "enough"});
    writer.join();
}

TEST(Channel, NothingIsLostThatWasReceivedBeforeAReset) {
    const auto near = Channel::create({}).value();
    auto [ours, theirs] = tcp_pair();
    const int socket = ours.get();
    const auto send = [&, to = theirs.get()](RecordKind kind, std::uint64_t position,
                                             std::string_view text) {
        const auto head = encode({.kind = kind,
                                  .size = text.size(),
                                  .position = position,
                                  .check = crc32c(bytes_of(text))});
        ASSERT_TRUE(write_all(to, head));
        ASSERT_TRUE(write_all(to, bytes_of(text)));
    };
    send(RecordKind::resume, 0, "");
    ASSERT_TRUE(near->attach(Connection(std::move(ours)), soon));
    send(RecordKind::data, 0, "0123456789");
    EXPECT_EQ(read_text(*near, 4), "0123") << "the rest stays where it was received";
    send(RecordKind::data, 10, "abc");
    send(RecordKind::closed, 0, "");
    const linger reset{1, 0};
    ASSERT_EQ(::setsockopt(theirs.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    theirs.reset();
    ASSERT_TRUE(eventually([&] { return wait_for_events(socket, POLLERR, 0ms).value(); }));
    near->end_writing();
    EXPECT_TRUE(eventually([&] { return near->over(); }));
    EXPECT_EQ(read_text(*near, 9), "456789abc");
}

// ---- without a connection

TEST(Channel, UsersWaitForAConnection) {
    Link link(nullptr);
    std::atomic<int> done = 0;
    std::string at_far;
    std::thread writer([&] {
        write_text(*link.near, "there");
        ++done;
    });
    std::thread reader([&] {
        at_far = read_text(*link.far, 5);
        ++done;
    });
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(done, 0);
    ASSERT_TRUE(link.connect());
    writer.join();
    reader.join();
    EXPECT_EQ(at_far, "there");
}

TEST(Channel, AWriterNeedNotWaitIfItMayLeaveBytesUnsent) {
    Channel::Options options;
    options.max_unsent = 10;
    Link link(nullptr, options);
    write_text(*link.near, "there");
    write_text(*link.near, "again");
    std::atomic<bool> done = false;
    std::thread writer([&] {
        write_text(*link.near, "!");
        done = true;
    });
    std::this_thread::sleep_for(20ms);
    EXPECT_FALSE(done);
    ASSERT_TRUE(link.connect());
    writer.join();
    EXPECT_EQ(read_text(*link.far, 11), "thereagain!");
}

TEST(Channel, SocketsOptionsAreSetOnEachConnection) {
    std::atomic<int> calls = 0;
    Link link(nullptr);
    link.near->on_attached([&](int socket) {
        const int size = 1 << 16;
        EXPECT_EQ(::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
        ++calls;
    });
    for (int i = 1; i <= 3; ++i) {
        ASSERT_TRUE(link.connect());
        EXPECT_EQ(calls, i);
        int size = 0;
        socklen_t length = sizeof size;
        EXPECT_EQ(::getsockopt(link.near->socket(), SOL_SOCKET, SO_SNDBUF, &size, &length), 0);
        EXPECT_EQ(size, 2 << 16);
    }
}

TEST(Channel, ThePollableNumberStays) {
    Link link(nullptr);
    const int number = link.near->socket();
    EXPECT_FALSE(wait_for_events(number, POLLIN | POLLOUT, 0ms).value());
    auto woken = std::async(std::launch::async,
                            [&] { return wait_for_events(number, POLLOUT, soon).value(); });
    std::this_thread::sleep_for(10ms);
    ASSERT_TRUE(link.connect());
    EXPECT_TRUE(woken.get());
    EXPECT_EQ(link.near->socket(), number);
    EXPECT_TRUE(wait_for_events(number, POLLOUT, 0ms).value());
    link.cut();
    std::array<std::byte, 1> byte{};
    EXPECT_TRUE(eventually([&] {
        (void)link.near->read_available(byte);
        return !link.near->connected();
    }));
    EXPECT_FALSE(wait_for_events(number, POLLIN | POLLOUT, 0ms).value());
    link.near->shut_down();
    EXPECT_TRUE(wait_for_events(number, POLLOUT, 0ms).value()) << "a waiting thread is not woken";
}

// ---- limits

TEST(Channel, RetainsLittleMemory) {
    constexpr std::size_t limit = std::size_t{1} << 20;
    Channel::Options options;
    options.reads = Reads::thread;
    options.max_copied = limit;
    Link link(nullptr, options, {});
    link.keep_connected();
    const std::string text = noise(8 * limit, 1);
    std::atomic<bool> done = false;
    std::thread writer([&] {
        write_text(*link.near, text);
        link.near->end_writing();
        done = true;
    });
    const Heartbeat heartbeat({link.near.get(), link.far.get()});
    std::string got;
    std::size_t max_copied = 0;
    while (got.size() < text.size()) {
        got += read_text(*link.far, limit / 4);
        max_copied = std::max(max_copied, link.near->copied());
        if (got.size() == 4 * limit)
            link.cut();
    }
    writer.join();
    EXPECT_TRUE(got == text);
    EXPECT_LE(max_copied, limit);
    EXPECT_TRUE(eventually([&] { return link.near->copied() == 0; }));
}

TEST(Channel, AWriterWaitsForItsReader) {
    Channel::Options options;
    options.reads = Reads::thread;
    options.max_copied = std::size_t{256} << 10;
    Link link(nullptr, options, reading(Reads::thread));
    ASSERT_TRUE(link.connect());
    const std::string text = noise(2 << 20, 1);
    std::atomic<bool> done = false;
    std::thread writer([&] {
        write_text(*link.near, text);
        done = true;
    });
    std::this_thread::sleep_for(50ms);
    EXPECT_FALSE(done);
    EXPECT_LE(link.near->copied(), options.max_copied);
    EXPECT_TRUE(read_text(*link.far, text.size()) == text);
    writer.join();
}

// ---- time

class Time : public testing::Test {
  protected:
    /// Lets this much time pass for a channel, without waiting.
    void pass(Channel& channel, Channel::Clock::duration time) {
        for (; time > 0ms; time -= Channel::tick_interval) {
            now_ += Channel::tick_interval;
            channel.tick(now_);
        }
    }
    Channel::Clock::time_point now_;
};

TEST_F(Time, ASilentConnectionIsLost) {
    Link link(nullptr, reading(Reads::thread), reading(Reads::thread));
    ASSERT_TRUE(link.connect());
    EXPECT_TRUE(link.near->connected());
    pass(*link.near, Channel::dead_after - Channel::tick_interval);
    EXPECT_EQ(link.losses, 0);
    pass(*link.near, 2 * Channel::tick_interval);
    EXPECT_TRUE(eventually([&] { return link.losses >= 1; }));
    EXPECT_FALSE(link.near->connected());
}

TEST_F(Time, ASilentConnectionIsLostAlsoWhileAWriterWaits) {
    Link link(
        [](int attempt) {
            Faults faults;
            if (attempt == 0)
                faults.silent_after = {100000, 20};
            return faults;
        },
        reading(Reads::thread), reading(Reads::thread));
    ASSERT_TRUE(link.connect());
    const std::string text = noise(4 << 20, 1);
    std::thread writer([&] { write_text(*link.near, text); });
    std::this_thread::sleep_for(20ms);
    EXPECT_TRUE(eventually([&] {
        pass(*link.near, 100ms);
        return link.losses >= 1;
    }));
    ASSERT_TRUE(link.connect());
    EXPECT_TRUE(read_text(*link.far, text.size()) == text);
    writer.join();
}

TEST_F(Time, BothSidesSpeakOftenEnough) {
    Link link(nullptr, reading(Reads::thread), reading(Reads::thread));
    ASSERT_TRUE(link.connect());
    for (int i = 0; i < 50; ++i) {
        pass(*link.near, 100ms);
        now_ -= 100ms;
        pass(*link.far, 100ms);
        if (i % 3 == 2) {
            const auto expected = record_head_size * static_cast<std::uint64_t>(1 + i / 3);
            EXPECT_TRUE(eventually([&] {
                return link.wire().carried[0] >= expected && link.wire().carried[1] >= expected;
            }));
        }
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(link.losses, 0);
}

TEST_F(Time, ABusyReaderDoesNotLoseItsConnection) {
    Link link(nullptr);
    ASSERT_TRUE(link.connect());
    write_text(*link.near, "there");
    ASSERT_TRUE(wait_readable(link.far->fd(), soon).value());
    pass(*link.far, 60s);
    EXPECT_TRUE(link.far->connected()) << "though bytes wait for the reader";
    EXPECT_EQ(read_text(*link.far, 5), "there");
    pass(*link.far, Channel::dead_after + 2 * Channel::tick_interval);
    EXPECT_FALSE(link.far->connected());
}

TEST_F(Time, ItsOwnAbsenceIsNotThePeers) {
    Link link(nullptr, reading(Reads::thread), reading(Reads::thread));
    ASSERT_TRUE(link.connect());
    pass(*link.near, 100ms);
    now_ += 60s;
    pass(*link.near, 100ms);
    EXPECT_TRUE(link.near->connected());
}

// ---- ends

TEST(Channel, ShutDownEndsEverythingThatWaits) {
    Channel::Options options;
    options.max_copied = max_record;
    for (const bool connected : {true, false}) {
        Link link(nullptr, options);
        if (connected) {
            ASSERT_TRUE(link.connect());
        }
        std::array<std::byte, 1> byte{};
        const std::string text = noise(4 << 20, 1);
        std::thread reader([&] { EXPECT_EQ(link.near->read_some(byte).value(), 0U); });
        std::thread writer([&] { EXPECT_FALSE(link.near->write(bytes_of(text))); });
        ASSERT_TRUE(eventually([&] { return link.near->unacknowledged() > 0; }));
        std::thread waiter([&] { EXPECT_FALSE(link.near->wait_taken(soon).value_or(false)); });
        std::this_thread::sleep_for(20ms);
        link.near->shut_down();
        reader.join();
        writer.join();
        waiter.join();
        EXPECT_FALSE(link.connect());
        EXPECT_EQ(link.losses, 0);
    }
}

TEST(Channel, TellsThePeerThatItIsShutDown) {
    Link link(nullptr);
    ASSERT_TRUE(link.connect());
    write_text(*link.near, "there");
    link.near->shut_down();
    EXPECT_EQ(read_text(*link.far, 5), "there");
    std::array<std::byte, 1> byte{};
    const auto got = link.far->read_some(byte);
    ASSERT_FALSE(got);
    EXPECT_THAT(got.error().message, HasSubstr("closed"));
    EXPECT_FALSE(link.far->write(byte));
    EXPECT_TRUE(link.far->over());
    EXPECT_EQ(link.losses, 0);
}

/// `closed` is sent also if another thread is just sending: a peer that does not see it would wait
/// for a new connection.
TEST(Channel, TellsThePeerWhateverIsBeingSent) {
    for (int round = 0; round < 100; ++round) {
        Link link(nullptr);
        ASSERT_TRUE(link.connect());
        std::thread writer([&] {
            while (link.near->write(bytes_of("x"))) {
            }
        });
        // It reads all the time: shut_down() does not wait long for room in the socket.
        std::promise<void> begun;
        auto reader = std::async(std::launch::async, [&] {
            std::array<std::byte, 4096> bytes{};
            Result<std::size_t> got = link.far->read_some(bytes);
            begun.set_value();
            while (got)
                got = link.far->read_some(bytes);
            return got.error().message;
        });
        begun.get_future().wait();
        link.near->shut_down();
        writer.join();
        EXPECT_THAT(reader.get(), HasSubstr("closed the channel"));
        ASSERT_EQ(link.losses, 0) << "in round " << round;
    }
}

TEST(Channel, GivingUpSaysWhy) {
    Link link(nullptr);
    std::array<std::byte, 1> byte{};
    auto reader = std::async(std::launch::async, [&] { return link.near->read_some(byte); });
    auto writer = std::async(std::launch::async, [&] { return link.near->write(byte); });
    std::this_thread::sleep_for(10ms);
    link.near->give_up({ErrorKind::io, "no connection for 3 s"});
    EXPECT_EQ(reader.get().error().message, "no connection for 3 s");
    EXPECT_EQ(writer.get().error().message, "no connection for 3 s");
}

TEST_P(EachReader, AReaderThatStopsFailsItsWriter) {
    Link link(nullptr, reading(Reads::thread), reading(GetParam()));
    ASSERT_TRUE(link.connect());
    std::array<std::byte, 1> byte{};
    auto reader = std::async(std::launch::async, [&] { return link.far->read_some(byte); });
    std::this_thread::sleep_for(10ms);
    link.far->end_reading();
    EXPECT_EQ(reader.get().value(), 0U);
    EXPECT_TRUE(eventually([&] { return !link.near->write(byte); }));
    EXPECT_EQ(link.near->copied(), 0U);
    // The other direction goes on, over a new connection, too.
    ASSERT_TRUE(link.connect());
    write_text(*link.far, "back");
    EXPECT_EQ(read_text(*link.near, 4), "back");
    link.far->tick({});
    EXPECT_FALSE(link.near->write(byte));
    link.far->end_writing();
    EXPECT_EQ(read_all(*link.near), "");
    EXPECT_TRUE(link.far->wait_taken(soon).value());
}

TEST(Channel, TheEndSendsWhatWaitedForMore) {
    Link link(nullptr);
    const Heartbeat heartbeat({link.near.get(), link.far.get()});
    ASSERT_TRUE(link.connect());
    ASSERT_TRUE(link.near->write(bytes_of("there"), Channel::More::yes));
    link.near->end_writing();
    EXPECT_EQ(read_all(*link.far), "there");
}

TEST(Channel, AnEndedStreamTakesNoMore) {
    Link link(nullptr);
    ASSERT_TRUE(link.connect());
    link.near->end_writing();
    link.near->end_writing();
    EXPECT_FALSE(link.near->write(bytes_of("more")));
    EXPECT_EQ(read_all(*link.far), "");
}

}  // namespace
}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
// What is recorded: each first touch once, in order, with its kind, thread and time.
#include "support.h"

#include <algorithm>
#include <barrier>
#include <fcntl.h>
#include <map>
#include <numeric>
#include <poll.h>
#include <random>
#include <set>
#include <sys/syscall.h>
#include <thread>
#include <time.h>
#include <unistd.h>

namespace gc::capture::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::uint64_t monotonic_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

std::vector<std::uint64_t> shuffled(std::size_t pages) {
    std::vector<std::uint64_t> order(pages);
    std::iota(order.begin(), order.end(), 0U);
    std::shuffle(order.begin(), order.end(), std::mt19937(12345));
    return order;
}

TEST(Capture, ProcessTouchingInKnownOrder) {
    constexpr std::size_t pages = 3000;
    const UniqueFd file = memory_file(pages);
    Session session = make_session(file, pages);
    const auto order = shuffled(pages);
    const std::uint64_t begin = monotonic_ns();

    Child guide([&] {
        const Pages memory = map_node(session.node(), pages);
        for (const std::uint64_t page : order) {
            if (page % 3 == 0)
                memory.write(page, 1);
            else if (memory.read(page) != pattern(page))
                return 1;
        }
        return 0;
    });
    const auto records = take(session, pages);
    EXPECT_EQ(guide.wait(), 0);

    EXPECT_EQ(pages_of(records), order);
    std::uint64_t last = begin;
    for (const Record& record : records) {
        EXPECT_EQ(record.tid, static_cast<std::uint32_t>(guide.pid()));
        EXPECT_EQ(record.kind, record.page % 3 == 0 ? Kind::write : Kind::read);
        EXPECT_GE(record.time_ns, last);
        last = record.time_ns;
    }
    EXPECT_LE(last, monotonic_ns());
    EXPECT_THAT(take_ready(session), IsEmpty());
    const Stats stats = session.stats().value();
    EXPECT_EQ(stats.records, pages);
    EXPECT_EQ(stats.touched, pages);
    EXPECT_EQ(stats.dropped, 0U);
}

TEST(Capture, FourThreadsEachInItsOrder) {
    constexpr std::size_t pages = 4000;
    constexpr std::size_t threads = 4;
    const UniqueFd file = memory_file(pages);
    Session session = make_session(file, pages);
    const auto order = shuffled(pages);

    Child guide([&] {
        const Pages memory = map_node(session.node(), pages);
        std::vector<std::jthread> workers;
        for (std::size_t mine = 0; mine < threads; ++mine)
            workers.emplace_back([&, mine] {
                for (std::size_t i = mine; i < pages; i += threads)
                    (void)memory.read(order[i]);
            });
        return 0;
    });
    const auto records = take(session, pages);
    EXPECT_EQ(guide.wait(), 0);

    std::map<std::uint32_t, std::vector<std::uint64_t>> by_thread;
    for (const Record& record : records)
        by_thread[record.tid].push_back(record.page);
    ASSERT_EQ(by_thread.size(), threads);
    std::set<std::vector<std::uint64_t>> expected;
    for (std::size_t mine = 0; mine < threads; ++mine) {
        std::vector<std::uint64_t> part;
        for (std::size_t i = mine; i < pages; i += threads)
            part.push_back(order[i]);
        expected.insert(part);
    }
    std::set<std::vector<std::uint64_t>> got;
    for (const auto& [tid, part] : by_thread)
        got.insert(part);
    EXPECT_EQ(got, expected);
    EXPECT_THAT(take_ready(session), IsEmpty());
}

TEST(Capture, ThreadsRacingOnOnePageMakeOneRecord) {
    constexpr std::size_t pages = 1000;
    const UniqueFd file = memory_file(pages);
    Session session = make_session(file, pages);
    const Pages memory = map_node(session.node(), pages);
    {
        std::barrier start(4);
        std::vector<std::jthread> workers;
        for (int worker = 0; worker < 4; ++worker)
            workers.emplace_back([&, worker] {
                for (std::size_t page = 0; page < pages; ++page) {
                    if (page % 16 == 0)
                        start.arrive_and_wait();
                    if ((page + static_cast<std::size_t>(worker)) % 2 == 0)
                        memory.write(page, page);
                    else
                        (void)memory.read(page);
                }
            });
    }
    auto touched = pages_of(take_ready(session));
    EXPECT_EQ(touched.size(), pages);
    std::sort(touched.begin(), touched.end());
    EXPECT_EQ(std::unique(touched.begin(), touched.end()), touched.end());
}

TEST(Capture, OnlyTheFirstAccessIsRecordedWhateverComesLater) {
    const UniqueFd file = memory_file(4);
    Session session = make_session(file, 4);
    const Pages memory = map_node(session.node(), 4);
    (void)memory.read(1);
    memory.write(1, 7);
    memory.write(2, 7);
    (void)memory.read(2);
    // Dropped private copies are read from the file again; that is no first touch.
    ASSERT_EQ(::madvise(memory.data(), memory.size(), MADV_DONTNEED), 0);
    EXPECT_EQ(memory.read(1), pattern(1));
    const auto records = take_ready(session);
    ASSERT_THAT(pages_of(records), ElementsAre(1, 2));
    EXPECT_EQ(records[0].kind, Kind::read);
    EXPECT_EQ(records[1].kind, Kind::write);
}

TEST(Capture, ReadingOnePageMapsNoNeighbour) {
    constexpr std::size_t pages = 64;
    const UniqueFd file = memory_file(pages);
    Session session = make_session(file, pages);
    const Pages memory = map_node(session.node(), pages);
    for (std::size_t page = 0; page < pages; ++page)
        (void)memory.read(page);
    EXPECT_EQ(take_ready(session).size(), pages);
}

TEST(Capture, ExecutionIsAKindOfItsOwn) {
    const UniqueFd file = memory_file(2);
    const Pages source(file.get(), 2, PROT_READ | PROT_WRITE, MAP_SHARED);
    *reinterpret_cast<unsigned char*>(source.word(1)) = 0xc3;  // ret
    Session session = make_session(file, 2);
    const Pages memory = map_node(session.node(), 2, PROT_READ | PROT_EXEC);
    reinterpret_cast<void (*)()>(memory.word(1))();
    const auto records = take_ready(session);
    ASSERT_THAT(pages_of(records), ElementsAre(1));
    EXPECT_EQ(records[0].kind, Kind::exec);
}

TEST(Capture, RecordIsThereWhenTheAccessReturns) {
    const UniqueFd file = memory_file(100);
    Session session = make_session(file, 100);
    const Pages memory = map_node(session.node(), 100);
    for (std::size_t page = 0; page < 100; ++page) {
        (void)memory.read(page);
        ASSERT_THAT(pages_of(take_ready(session)), ElementsAre(page));
    }
}

TEST(Capture, SessionOverPartOfAFileCountsFromItsOffset) {
    const UniqueFd file = memory_file(64);
    Session session = make_session(file, 10, small_ring, 20);
    const Pages memory = map_node(session.node(), 10);
    EXPECT_EQ(memory.read(9), pattern(29));
    EXPECT_EQ(memory.read(0), pattern(20));
    EXPECT_THAT(pages_of(take_ready(session)), ElementsAre(9, 0));
    // A mapping that does not begin at page 0 of the node.
    const UniqueFd node = open_node(session.node(), O_RDONLY);
    const Pages tail(node.get(), 4, PROT_READ, MAP_PRIVATE, 6);
    EXPECT_EQ(tail.read(1), pattern(27));
    EXPECT_THAT(pages_of(take_ready(session)), ElementsAre(7));
}

TEST(Capture, SessionsDoNotSeeEachOther) {
    const UniqueFd one = memory_file(8);
    const UniqueFd two = memory_file(8);
    std::vector<Session> sessions;
    sessions.push_back(make_session(one, 8));
    sessions.push_back(make_session(two, 8));
    sessions.push_back(make_session(two, 8));  // a second guide of the same memory
    std::vector<Pages> memories;
    for (const Session& session : sessions)
        memories.push_back(map_node(session.node(), 8));
    EXPECT_NE(sessions[0].node(), sessions[1].node());
    EXPECT_NE(sessions[1].node(), sessions[2].node());
    (void)memories[0].read(1);
    memories[1].write(2, 99);
    EXPECT_EQ(memories[2].read(2), pattern(2));
    EXPECT_THAT(pages_of(take_ready(sessions[0])), ElementsAre(1));
    EXPECT_THAT(pages_of(take_ready(sessions[1])), ElementsAre(2));
    EXPECT_THAT(pages_of(take_ready(sessions[2])), ElementsAre(2));
}

TEST(Capture, PollWakesOnTheFirstRecord) {
    const UniqueFd file = memory_file(2);
    Session session = make_session(file, 2);
    EXPECT_EQ(poll_events(session.fd()), 0);
    Child guide([&] {
        const Pages memory = map_node(session.node(), 2);
        std::this_thread::sleep_for(300ms);
        (void)memory.read(0);
        std::this_thread::sleep_for(300ms);
        (void)memory.read(1);
        ::pause();
        return 0;
    });
    EXPECT_EQ(poll_events(session.fd(), 20s), POLLIN);
    EXPECT_THAT(pages_of(take_ready(session)), ElementsAre(0));
    EXPECT_EQ(poll_events(session.fd(), 20s), POLLIN);
    EXPECT_THAT(pages_of(take_ready(session)), ElementsAre(1));
    EXPECT_EQ(poll_events(session.fd()), 0);
}

TEST(Capture, PollTellsThatTheGuideIsGone) {
    const UniqueFd file = memory_file(2);
    Session session = make_session(file, 2);
    Child guide([&] {
        const Pages memory = map_node(session.node(), 2);
        (void)memory.read(0);
        ::pause();
        return 0;
    });
    ASSERT_EQ(take(session, 1).size(), 1U);
    EXPECT_EQ(poll_events(session.fd()), 0);
    EXPECT_EQ(session.stats().value().mappings, 1U);
    guide.signal(SIGKILL);
    EXPECT_EQ(poll_events(session.fd(), 20s), POLLHUP);
    EXPECT_EQ(session.stats().value().mappings, 0U);
    // Another guide may come.
    const Pages memory = map_node(session.node(), 2);
    EXPECT_EQ(poll_events(session.fd()), 0);
}

}  // namespace
}  // namespace gc::capture::test

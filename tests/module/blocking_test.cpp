// SPDX-License-Identifier: GPL-2.0-or-later
// A full ring: the guide waits, whatever happens to it or to the consumer meanwhile.
#include "support.h"

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <optional>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace gc::capture::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// More than a ring even for each of four threads.
constexpr std::size_t pages = 8 * small_ring;

int touch_all(const Pages& memory) {
    for (std::size_t page = 0; page < pages; ++page)
        if (memory.read(page) != pattern(page))
            return 1;
    return 0;
}

class Blocking : public testing::Test {
  protected:
    void SetUp() override { session_.emplace(make_session(file_, pages, small_ring)); }

    [[nodiscard]] bool waiting(std::uint64_t threads) {
        return eventually([&] { return session_->stats().value().waiting == threads; });
    }

    /// The ring's consumer page, as a hostile program maps it.
    [[nodiscard]] Mapping consumer_page() const {
        return Mapping::map(session_->fd(), page_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                            GC_RING_CONSUMER_OFFSET, "consumer page")
            .value();
    }

    UniqueFd file_ = memory_file(pages);
    std::optional<Session> session_;
};

TEST_F(Blocking, ProducerGoesOnWhenTheConsumerReads) {
    Child guide([&] { return touch_all(map_node(session_->node(), pages)); });
    ASSERT_TRUE(waiting(1));
    EXPECT_EQ(session_->stats().value().records, small_ring);
    EXPECT_EQ(guide.wait(200ms), -1);

    // One record read, one more touch.
    EXPECT_THAT(pages_of(take(*session_, 1)), ElementsAre(0));
    ASSERT_TRUE(eventually([&] { return session_->stats().value().records == small_ring + 1; }));
    ASSERT_TRUE(waiting(1));

    const auto rest = take(*session_, pages - 1);
    EXPECT_EQ(guide.wait(), 0);
    ASSERT_EQ(rest.size(), pages - 1);
    for (std::size_t i = 0; i < rest.size(); ++i)
        EXPECT_EQ(rest[i].page, i + 1);
    const Stats stats = session_->stats().value();
    EXPECT_GE(stats.blocked, 2U);
    EXPECT_GE(stats.blocked_ns, 200'000'000U);
    EXPECT_EQ(stats.waiting, 0U);
    EXPECT_EQ(stats.spilled, 0U);
    EXPECT_EQ(stats.dropped, 0U);
}

TEST_F(Blocking, FourProducersLoseNothing) {
    Child guide([&] {
        const Pages memory = map_node(session_->node(), pages);
        std::vector<std::jthread> workers;
        for (std::size_t mine = 0; mine < 4; ++mine)
            workers.emplace_back([&, mine] {
                for (std::size_t page = mine; page < pages; page += 4)
                    memory.write(page, page);
            });
        return 0;
    });
    ASSERT_TRUE(waiting(4));
    auto touched = pages_of(take(*session_, pages));
    EXPECT_EQ(guide.wait(), 0);
    std::sort(touched.begin(), touched.end());
    ASSERT_EQ(touched.size(), pages);
    for (std::size_t page = 0; page < pages; ++page)
        EXPECT_EQ(touched[page], page);
}

TEST_F(Blocking, MmapLockIsFreeMeanwhile) {
    Child guide([&] {
        const Pages memory = map_node(session_->node(), pages);
        std::jthread blocked([&] { touch_all(memory); });
        std::this_thread::sleep_for(500ms);
        // Both need the mmap lock for writing.
        const Pages other(-1, 16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
        if (::mprotect(other.data(), other.size(), PROT_NONE) != 0)
            return 1;
        ::_exit(0);
    });
    EXPECT_EQ(guide.wait(5s), 0);
}

TEST_F(Blocking, KilledProducerDies) {
    Child guide([&] { return touch_all(map_node(session_->node(), pages)); });
    ASSERT_TRUE(waiting(1));
    guide.signal(SIGKILL);
    EXPECT_EQ(guide.wait(5s), 128 + SIGKILL);
    EXPECT_TRUE(waiting(0));
    // What it did is told all the same, and another guide can go on.
    EXPECT_EQ(take_ready(*session_).size(), small_ring);
    const Pages memory = map_node(session_->node(), pages);
    (void)memory.read(pages - 1);
    EXPECT_THAT(pages_of(take_ready(*session_)), ElementsAre(pages - 1));
}

volatile std::sig_atomic_t handled = 0;

TEST_F(Blocking, SignalHandlerRunsInABlockedThread) {
    Child guide([&] {
        ::signal(SIGUSR1, [](int) {
            handled = 1;
            ::_exit(42);
        });
        return touch_all(map_node(session_->node(), pages));
    });
    ASSERT_TRUE(waiting(1));
    guide.signal(SIGUSR1);
    EXPECT_EQ(guide.wait(5s), 42);
}

TEST_F(Blocking, ClosingTheSessionFreesTheProducer) {
    Child guide([&] { return touch_all(map_node(session_->node(), pages)); });
    ASSERT_TRUE(waiting(1));
    const UniqueFd node = open_node(session_->node());
    session_.reset();
    EXPECT_EQ(guide.wait(5s), 0);
    EXPECT_FALSE(open_node(node.get()));
    EXPECT_EQ(errno, ENODEV);
}

TEST_F(Blocking, DeathOfTheConsumerFreesTheProducer) {
    int link[2];
    ASSERT_EQ(::pipe2(link, O_CLOEXEC), 0);
    Child consumer([&] {
        const Session session = make_session(file_, pages, small_ring);
        const int node = session.node();
        if (::write(link[1], &node, sizeof(node)) < 0)
            return 1;
        ::pause();
        return 0;
    });
    int number = -1;
    ASSERT_EQ(::read(link[0], &number, sizeof(number)), sizeof(number));
    const UniqueFd node(
        ::open(fmt::format("/proc/{}/fd/{}", consumer.pid(), number).c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(node);
    int mapped[2];
    ASSERT_EQ(::pipe2(mapped, O_CLOEXEC), 0);
    Child guide([&] {
        const Pages memory = map_node(node.get(), pages);
        return ::write(mapped[1], "", 1) == 1 ? touch_all(memory) : 1;
    });
    char one = 0;
    ASSERT_EQ(::read(mapped[0], &one, 1), 1);
    EXPECT_EQ(guide.wait(500ms), -1);
    consumer.signal(SIGKILL);
    EXPECT_EQ(guide.wait(5s), 0);
    EXPECT_FALSE(open_node(node.get()));
    EXPECT_EQ(errno, ENODEV);
    for (const int fd : {link[0], link[1], mapped[0], mapped[1]})
        ::close(fd);
}

TEST_F(Blocking, MappingThatGoesAwayMeanwhileIsASegmentationFault) {
    Child guide([&] {
        Pages memory = map_node(session_->node(), pages);
        std::jthread blocked([&] { touch_all(memory); });
        std::this_thread::sleep_for(500ms);
        memory.unmap();
        return 0;  // joins
    });
    ASSERT_TRUE(waiting(1));
    ASSERT_TRUE(eventually([&] { return session_->stats().value().mappings == 0; }));
    (void)take_ready(*session_);
    EXPECT_EQ(guide.wait(5s), 128 + SIGSEGV);
}

TEST_F(Blocking, GarbageInTheConsumerPageChangesNothing) {
    const Mapping page = consumer_page();
    auto* shared = reinterpret_cast<gc_ring_consumer*>(page.data());
    Child guide([&] { return touch_all(map_node(session_->node(), pages)); });
    ASSERT_TRUE(waiting(1));

    const std::uint64_t before = session_->stats().value().garbage;
    std::uint64_t bad = 0;
    for (const std::uint64_t tail : std::initializer_list<std::uint64_t>{
             small_ring + 1, 1ULL << 32, 1ULL << 63, UINT64_MAX, UINT64_MAX - small_ring}) {
        std::fill_n(reinterpret_cast<std::uint64_t*>(page.data()), page_size / 8, tail);
        __atomic_store_n(&shared->tail, tail, __ATOMIC_SEQ_CST);
        gc_kick kick{.size = sizeof(kick), .flags = 0};
        ASSERT_EQ(::ioctl(session_->fd(), GC_IOC_KICK, &kick), 0);
        ++bad;
        EXPECT_EQ(session_->stats().value().records, small_ring) << tail;
    }
    EXPECT_GE(session_->stats().value().garbage, before + bad);
    EXPECT_EQ(guide.wait(100ms), -1);

    // A tail that goes back behind one that was good is garbage too.
    shared->tail = 0;
    const auto records = take(*session_, pages);
    EXPECT_EQ(records.size(), pages);
    EXPECT_EQ(guide.wait(), 0);
}

TEST_F(Blocking, GarbageWhileProducersRun) {
    const Mapping page = consumer_page();
    auto* shared = reinterpret_cast<gc_ring_consumer*>(page.data());
    Child guide([&] { return touch_all(map_node(session_->node(), pages)); });
    for (std::uint64_t i = 0; i < 200'000; ++i)
        __atomic_store_n(&shared->tail, i * 0x9e3779b97f4a7c15U, __ATOMIC_RELAXED);
    // The session object's own tail is still right: it takes up where it was.
    __atomic_store_n(&shared->tail, 0U, __ATOMIC_SEQ_CST);
    guide.signal(SIGKILL);
    EXPECT_EQ(guide.wait(5s), 128 + SIGKILL);
    EXPECT_LE(session_->stats().value().records, pages);
}

TEST_F(Blocking, PopulateGoesThroughTheRing) {
    Child guide([&] {
        const Pages memory = map_node(session_->node(), pages);
        return ::madvise(memory.data(), memory.size(), MADV_POPULATE_READ) == 0 ? 0 : 1;
    });
    ASSERT_TRUE(waiting(1));
    EXPECT_EQ(take(*session_, pages).size(), pages);
    EXPECT_EQ(guide.wait(), 0);
}

}  // namespace
}  // namespace gc::capture::test

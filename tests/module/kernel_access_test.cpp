// SPDX-License-Identifier: GPL-2.0-or-later
// First touches that the kernel makes on somebody's behalf: copies from and to user space, and
// pages taken by get_user_pages().
#include "support.h"

#include <csignal>
#include <fcntl.h>
#include <optional>
#include <sys/resource.h>
#include <sys/uio.h>
#include <thread>
#include <unistd.h>

namespace gc::capture::test {
namespace {

using testing::ElementsAre;

constexpr std::size_t pages = 4 * small_ring;

/// Fills the ring with the first pages.
void fill_ring(const Pages& memory) {
    for (std::size_t page = 0; page < small_ring; ++page)
        (void)memory.read(page);
}

class KernelAccess : public testing::Test {
  protected:
    [[nodiscard]] bool waiting(std::uint64_t threads) {
        return eventually([&] { return session_.stats().value().waiting == threads; });
    }

    UniqueFd file_ = memory_file(pages);
    Session session_ = make_session(file_, pages, small_ring);
};

struct Pipe {
    Pipe() {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0)
            throw std::runtime_error("pipe");
        out = UniqueFd(ends[0]);
        in = UniqueFd(ends[1]);
    }
    UniqueFd out;
    UniqueFd in;
};

TEST_F(KernelAccess, CopyFromUserIsRecorded) {
    const Pages memory = map_node(session_.node(), pages);
    const Pipe pipe;
    ASSERT_EQ(::write(pipe.in.get(), memory.word(3), 8), 8);
    const auto records = take_ready(session_);
    ASSERT_THAT(pages_of(records), ElementsAre(3));
    EXPECT_EQ(records[0].kind, Kind::read);
}

TEST_F(KernelAccess, CopyToUserIsRecordedAsWrite) {
    const Pages memory = map_node(session_.node(), pages);
    const Pipe pipe;
    ASSERT_EQ(::write(pipe.in.get(), "12345678", 8), 8);
    ASSERT_EQ(::read(pipe.out.get(), memory.word(5), 8), 8);
    const auto records = take_ready(session_);
    ASSERT_THAT(pages_of(records), ElementsAre(5));
    EXPECT_EQ(records[0].kind, Kind::write);
    const Pages source(file_.get(), pages, PROT_READ, MAP_SHARED);
    EXPECT_EQ(source.read(5), pattern(5));
}

TEST_F(KernelAccess, BlockedSystemCallGoesOnWhenTheConsumerReads) {
    const Pipe pipe;
    Child guide([&] {
        const Pages memory = map_node(session_.node(), pages);
        fill_ring(memory);
        return ::write(pipe.in.get(), memory.word(small_ring), 8) == 8 ? 0 : 1;
    });
    ASSERT_TRUE(waiting(1));
    EXPECT_EQ(take(session_, small_ring + 1).size(), small_ring + 1);
    EXPECT_EQ(guide.wait(), 0);
}

TEST_F(KernelAccess, BlockedSystemCallCanBeKilled) {
    const Pipe pipe;
    Child guide([&] {
        const Pages memory = map_node(session_.node(), pages);
        fill_ring(memory);
        return ::write(pipe.in.get(), memory.word(small_ring), 8) == 8 ? 0 : 1;
    });
    ASSERT_TRUE(waiting(1));
    guide.signal(SIGKILL);
    EXPECT_EQ(guide.wait(5s), 128 + SIGKILL);
}

TEST_F(KernelAccess, PendingSignalDoesNotMakeABlockedSystemCallSpin) {
    const Pipe pipe;
    Child guide([&] {
        ::signal(SIGUSR1, [](int) {});
        const Pages memory = map_node(session_.node(), pages);
        fill_ring(memory);
        if (::write(pipe.in.get(), memory.word(small_ring), 8) != 8)
            return 1;
        rusage usage{};
        ::getrusage(RUSAGE_SELF, &usage);
        return usage.ru_stime.tv_sec == 0 && usage.ru_stime.tv_usec < 700'000 ? 0 : 2;
    });
    ASSERT_TRUE(waiting(1));
    guide.signal(SIGUSR1);
    std::this_thread::sleep_for(1500ms);
    EXPECT_LT(session_.stats().value().blocked, 10U);
    (void)take(session_, small_ring + 1);
    EXPECT_EQ(guide.wait(), 0);
}

TEST_F(KernelAccess, RemoteReaderBlocksAndIsKillable) {
    Child guide([&] {
        const Pages memory = map_node(session_.node(), pages);
        fill_ring(memory);
        return 0;
    });
    EXPECT_EQ(guide.wait(), 0);
    const Pages memory = map_node(session_.node(), pages);
    const pid_t owner = ::getpid();
    const auto read_remote = [&] {
        std::uint64_t value = 0;
        iovec local{&value, sizeof(value)};
        iovec remote{memory.word(small_ring), sizeof(value)};
        if (::process_vm_readv(owner, &local, 1, &remote, 1, 0) != sizeof(value))
            return 1;
        return value == pattern(small_ring) ? 0 : 2;
    };
    {
        Child reader(read_remote);
        ASSERT_TRUE(waiting(1));
        reader.signal(SIGKILL);
        EXPECT_EQ(reader.wait(5s), 128 + SIGKILL);
    }
    Child reader(read_remote);
    ASSERT_TRUE(waiting(1));
    const auto records = take(session_, small_ring + 1);
    EXPECT_EQ(reader.wait(), 0);
    ASSERT_EQ(records.size(), small_ring + 1);
    EXPECT_EQ(records.back().page, small_ring);
    EXPECT_EQ(records.back().tid, static_cast<std::uint32_t>(reader.pid()));
}

/// /proc/PID/mem takes pages without allowing a retry of the fault: nobody may sleep there.
TEST_F(KernelAccess, AccessThatCannotWaitIsKeptAsideInOrder) {
    constexpr std::size_t aside = 10;
    const Pages memory = map_node(session_.node(), pages);
    fill_ring(memory);
    const UniqueFd mem(::open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
    for (std::size_t i = 0; i < aside; ++i) {
        std::uint64_t value = 0;
        const auto address = reinterpret_cast<off_t>(memory.word(small_ring + i));
        ASSERT_EQ(::pread(mem.get(), &value, sizeof(value), address), 8);
        EXPECT_EQ(value, pattern(small_ring + i));
    }
    EXPECT_EQ(session_.stats().value().spilled, aside);
    EXPECT_EQ(session_.stats().value().records, small_ring + aside);

    // A new touch comes after those kept aside.
    Child guide([&] {
        (void)memory.read(small_ring + aside);
        return 0;
    });
    ASSERT_TRUE(waiting(1));
    const auto records = take(session_, small_ring + aside + 1);
    EXPECT_EQ(guide.wait(), 0);
    ASSERT_EQ(records.size(), small_ring + aside + 1);
    for (std::size_t i = 0; i < records.size(); ++i)
        EXPECT_EQ(records[i].page, i);
    EXPECT_EQ(session_.stats().value().dropped, 0U);
}

TEST_F(KernelAccess, RecordsKeptAsideArriveWithoutAnotherTouch) {
    const Pages memory = map_node(session_.node(), pages);
    fill_ring(memory);
    const UniqueFd mem(::open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
    std::uint64_t value = 0;
    ASSERT_EQ(::pread(mem.get(), &value, 8, reinterpret_cast<off_t>(memory.word(pages - 1))), 8);
    EXPECT_EQ(take_ready(session_).size(), small_ring + 1);
}

TEST_F(KernelAccess, ConsumerThatNeverReadsHoldsUpOnlyTheGuide) {
    Child guide([&] {
        const Pages memory = map_node(session_.node(), pages);
        const Pipe pipe;
        std::vector<std::jthread> workers;
        workers.emplace_back([&] {
            for (std::size_t page = 0; page < pages; ++page)
                (void)memory.read(page);
        });
        workers.emplace_back([&] {
            for (std::size_t page = 0; page < pages; ++page)
                if (::write(pipe.in.get(), memory.word(page), 8) == 8) {
                    std::uint64_t sink = 0;
                    (void)!::read(pipe.out.get(), &sink, 8);
                }
        });
        return 0;
    });
    ASSERT_TRUE(waiting(2));
    // ps, top and the like look at its memory map and command line.
    for (const char* name : {"maps", "smaps_rollup", "cmdline"}) {
        const UniqueFd fd(
            ::open(fmt::format("/proc/{}/{}", guide.pid(), name).c_str(), O_RDONLY | O_CLOEXEC));
        char buffer[4096];
        EXPECT_GE(::read(fd.get(), buffer, sizeof(buffer)), 0) << name;
    }
    guide.signal(SIGKILL);
    EXPECT_EQ(guide.wait(5s), 128 + SIGKILL);
}

}  // namespace
}  // namespace gc::capture::test

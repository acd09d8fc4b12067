// SPDX-License-Identifier: GPL-2.0-or-later
// Sessions over the memory of a process (GC_SESSION_PROCESS): copied page by page at the first
// access, only ever read.
#include "raw_capture.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <sched.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <thread>
#include <unistd.h>

namespace gc::capture::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t pages = 64;
constexpr std::size_t huge_size = std::size_t{2} << 20;

void fill(const Pages& memory, std::uint64_t seed = 0) {
    for (std::size_t page = 0; page < memory.size() / page_size; ++page)
        memory.write(page, pattern(page) + seed);
}

Pages anonymous(std::size_t count = pages, int more = 0) {
    return Pages(-1, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | more);
}

gc_session_create session_over(pid_t pid, const Pages& memory) {
    auto arg = argument<gc_session_create>();
    arg.flags = GC_SESSION_PROCESS;
    arg.backing_fd = -1;
    arg.pid = pid;
    arg.ring_entries = small_ring;
    arg.backing_offset = reinterpret_cast<std::uintptr_t>(memory.data());
    arg.length = memory.size();
    return arg;
}

Pages map(const RawCapture& capture, std::size_t count = pages, int flags = MAP_PRIVATE) {
    const UniqueFd node = open_node(capture.node());
    return Pages(node.get(), count, PROT_READ | PROT_WRITE, flags);
}

/// What another process sees in its own memory, read past its page tables' accessed bits and
/// without populating.
std::uint64_t read_of(pid_t pid, const Pages& memory, std::size_t page) {
    std::uint64_t value = 0;
    iovec local{&value, sizeof(value)};
    iovec remote{memory.word(page), sizeof(value)};
    if (::process_vm_readv(pid, &local, 1, &remote, 1, 0) != sizeof(value))
        throw std::runtime_error("process_vm_readv");
    return value;
}

/// Pages of the range that a process has in its page tables, or in swap.
std::size_t present(pid_t pid, const Pages& memory) {
    const UniqueFd map(::open(fmt::format("/proc/{}/pagemap", pid).c_str(), O_RDONLY | O_CLOEXEC));
    std::vector<std::uint64_t> entries(memory.size() / page_size);
    const auto at = reinterpret_cast<std::uintptr_t>(memory.data()) / page_size * 8;
    if (::pread(map.get(), entries.data(), entries.size() * 8, static_cast<off_t>(at)) !=
        static_cast<ssize_t>(entries.size() * 8))
        throw std::runtime_error("pagemap");
    return static_cast<std::size_t>(std::count_if(entries.begin(), entries.end(),
                                                  [](std::uint64_t e) { return e >> 62 != 0; }));
}

/// A process whose memory is that of `memory` when it was forked, that sleeps.
class Source {
  public:
    explicit Source(const Pages& memory)
        : child_([] {
              ::pause();
              return 0;
          }),
          memory_(memory) {}

    [[nodiscard]] pid_t pid() const { return child_.pid(); }
    [[nodiscard]] gc_session_create session() const { return session_over(pid(), memory_); }
    void end() {
        child_.signal(SIGKILL);
        child_.wait();
    }

  private:
    Child child_;
    const Pages& memory_;
};

class Process : public testing::Test {
  protected:
    Process() { fill(memory_); }

    Pages memory_ = anonymous();
    RawCapture capture_;
};

TEST_F(Process, FirstAccessCopiesAndIsOneRecord) {
    const Source source(memory_);
    ASSERT_EQ(capture_.create(source.session()), 0);
    const Pages guide = map(capture_);
    for (const std::size_t page : {5U, 3U, 63U, 5U})
        EXPECT_EQ(guide.read(page), pattern(page));
    guide.write(7, 1);
    const auto records = capture_.take();
    ASSERT_THAT(pages_of(records), ElementsAre(5, 3, 63, 7));
    EXPECT_EQ(records[0].kind, GC_KIND_READ);
    EXPECT_EQ(records[3].kind, GC_KIND_WRITE);
    EXPECT_EQ(records[3].order, 0U);
    EXPECT_EQ(records[3].vcpu, GC_NO_VCPU);
    EXPECT_EQ(records[3].reserved, 0U);
    EXPECT_EQ(capture_.stats().copied, 4U);
    EXPECT_EQ(capture_.stats().touched, 4U);
}

TEST_F(Process, NothingReachesTheProcess) {
    const Source source(memory_);
    ASSERT_EQ(capture_.create(source.session()), 0);
    const Pages own = map(capture_);
    const Pages shared = map(capture_, pages, MAP_SHARED);
    for (std::size_t page = 0; page < pages; ++page)
        page % 2 == 0 ? own.write(page, 1) : shared.write(page, 2);
    for (std::size_t page = 0; page < pages; ++page) {
        EXPECT_EQ(read_of(source.pid(), memory_, page), pattern(page));
        // A private write is the writer's own; a shared one is the session's.
        EXPECT_EQ(shared.read(page), page % 2 == 0 ? pattern(page) : 2U);
    }
    EXPECT_EQ(capture_.stats().copied, pages);
}

TEST_F(Process, ContentIsThatOfTheFirstAccessUntilRearm) {
    ASSERT_EQ(capture_.create(session_over(::getpid(), memory_)), 0);
    const Pages guide = map(capture_, pages, MAP_SHARED);
    EXPECT_EQ(guide.read(1), pattern(1));
    guide.write(2, 22);
    fill(memory_, 1000);
    EXPECT_EQ(guide.read(1), pattern(1));
    EXPECT_EQ(guide.read(3), pattern(3) + 1000);
    EXPECT_EQ(capture_.stats().copied, 3U);
    (void)capture_.take();

    ASSERT_EQ(capture_.rearm(1, 2), 0);
    EXPECT_EQ(capture_.stats().copied, 1U);
    EXPECT_EQ(guide.read(1), pattern(1) + 1000);
    EXPECT_EQ(guide.read(2), pattern(2) + 1000) << "what the guide had written is forgotten";
    EXPECT_EQ(guide.read(3), pattern(3) + 1000);
    EXPECT_THAT(pages_of(capture_.take()), ElementsAre(1, 2));
}

TEST_F(Process, UntouchedMemoryIsZerosAndStaysUntouched) {
    const Pages untouched = anonymous(pages);
    untouched.write(5, 55);
    const Source source(untouched);
    ASSERT_EQ(capture_.create(source.session()), 0);
    const Pages guide = map(capture_);
    for (std::size_t page = 0; page < pages; ++page)
        EXPECT_EQ(guide.read(page), page == 5 ? 55U : 0U);
    EXPECT_LE(present(source.pid(), untouched), 1U);
}

TEST_F(Process, RangeOverSeveralMappingsOfEveryKind) {
    const UniqueFd file = memory_file(pages);
    const Pages area = anonymous(4 * pages);
    constexpr int fixed = MAP_FIXED;
    const int prot = PROT_READ | PROT_WRITE;
    std::byte* at = area.data();
    ASSERT_NE(::mmap(at, pages * page_size, prot, MAP_SHARED | fixed, file.get(), 0), MAP_FAILED);
    at += pages * page_size;
    ASSERT_NE(::mmap(at, pages * page_size, prot, MAP_PRIVATE | fixed, file.get(), 0), MAP_FAILED);
    at += pages * page_size;
    ASSERT_NE(::mmap(at, pages * page_size, prot, MAP_SHARED | MAP_ANONYMOUS | fixed, -1, 0),
              MAP_FAILED);
    area.write(2 * pages, 1);
    area.write(3 * pages, 2);
    const Source source(area);
    ASSERT_EQ(capture_.create(source.session()), 0);
    const Pages guide = map(capture_, 4 * pages);
    EXPECT_EQ(guide.read(1), pattern(1));
    EXPECT_EQ(guide.read(pages + 1), pattern(1));
    EXPECT_EQ(guide.read(2 * pages), 1U);
    EXPECT_EQ(guide.read(2 * pages + 1), 0U);
    EXPECT_EQ(guide.read(3 * pages), 2U);
    EXPECT_EQ(guide.read(3 * pages + 1), 0U);
}

TEST_F(Process, HugetlbMemory) {
    const Setting reserve("/proc/sys/vm/nr_hugepages", "2");
    ASSERT_TRUE(reserve.ok());
    constexpr std::size_t count = 2 * huge_size / page_size;
    const Pages huge = anonymous(count, MAP_HUGETLB);
    huge.write(3, 33);
    huge.write(511, 511);
    ASSERT_EQ(capture_.create(session_over(::getpid(), huge)), 0);
    const Pages guide = map(capture_, count);
    EXPECT_EQ(guide.read(3), 33U);
    EXPECT_EQ(guide.read(4), 0U);
    EXPECT_EQ(guide.read(511), 511U);
    EXPECT_EQ(guide.read(513), 0U) << "never touched";
    guide.write(3, 1);
    EXPECT_EQ(huge.read(3), 33U);
    EXPECT_THAT(pages_of(capture_.take()), ElementsAre(3, 4, 511, 513));
    EXPECT_EQ(present(::getpid(), huge), 512U);
}

TEST_F(Process, TransparentHugePageStaysOne) {
    constexpr std::size_t count = huge_size / page_size;
    const Pages room = anonymous(2 * count);
    const auto misfit = reinterpret_cast<std::uintptr_t>(room.data()) % huge_size / page_size;
    const std::size_t first = (count - misfit) % count;
    ASSERT_EQ(::madvise(room.word(first), huge_size, MADV_HUGEPAGE), 0);
    fill(room);
    auto arg = session_over(::getpid(), room);
    arg.ring_entries = 1024;
    ASSERT_EQ(capture_.create(arg), 0);
    const Pages guide = map(capture_, 2 * count);
    for (std::size_t page = 0; page < count; page += 7)
        EXPECT_EQ(guide.read(first + page), pattern(first + page));
    EXPECT_EQ(capture_.take().size(), (count + 6) / 7);
}

TEST_F(Process, MemoryThatIsUnmappedMeanwhileIsABusError) {
    Pages gone = anonymous();
    fill(gone);
    ASSERT_EQ(capture_.create(session_over(::getpid(), gone)), 0);
    const Pages guide = map(capture_);
    EXPECT_EQ(guide.read(1), pattern(1));
    gone.unmap();
    EXPECT_EQ(guide.read(1), pattern(1));
    Child reader([&] { return guide.read(2) == 0 ? 0 : 1; });
    EXPECT_EQ(reader.wait(), 128 + SIGBUS);
}

TEST_F(Process, ExitedProcessLeavesWhatWasCopied) {
    Source source(memory_);
    ASSERT_EQ(capture_.create(source.session()), 0);
    const Pages guide = map(capture_);
    EXPECT_EQ(guide.read(1), pattern(1));
    source.end();
    EXPECT_EQ(guide.read(1), pattern(1));
    Child reader([&] { return guide.read(2) == 0 ? 0 : 1; });
    EXPECT_EQ(reader.wait(), 128 + SIGBUS);
}

TEST_F(Process, EndedSessionReadsTheProcessNoMore) {
    const Source source(memory_);
    ASSERT_EQ(capture_.create(source.session()), 0);
    const Pages guide = map(capture_);
    EXPECT_EQ(guide.read(1), pattern(1));
    capture_.close();
    EXPECT_EQ(guide.read(1), pattern(1));
    Child reader([&] { return guide.read(2) == 0 ? 0 : 1; });
    EXPECT_EQ(reader.wait(), 128 + SIGBUS);
}

TEST_F(Process, SessionDoesNotKeepTheMemoryOfAProcessThatExits) {
    constexpr std::size_t many = 8192;
    const auto available = [] {
        std::uint64_t kb = 0;
        std::ifstream file("/proc/meminfo");
        for (std::string key; file >> key;)
            if (key == "MemAvailable:")
                file >> kb;
        return kb;
    };
    Pages own = anonymous(1);
    Child source([&] {
        const Pages big(-1, many, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE);
        ::pause();
        return static_cast<int>(big.read(0));
    });
    ASSERT_TRUE(eventually([&] {
        std::ifstream statm(fmt::format("/proc/{}/statm", source.pid()));
        std::size_t size = 0;
        std::size_t resident = 0;
        return static_cast<bool>(statm >> size >> resident) && resident >= many;
    }));
    ASSERT_EQ(capture_.create(session_over(source.pid(), own)), 0);
    const std::uint64_t before = available();
    source.signal(SIGKILL);
    source.wait();
    EXPECT_TRUE(eventually([&] { return available() > before + many * 4 / 2; }))
        << before << " " << available();
}

TEST_F(Process, KernelsOwnAccessesCopyToo) {
    ASSERT_EQ(capture_.create(session_over(::getpid(), memory_)), 0);
    const Pages guide = map(capture_);
    const UniqueFd sink = memory_file(1);
    ASSERT_EQ(::pwrite(sink.get(), guide.word(4), 8, 0), 8);
    std::uint64_t value = 0;
    ASSERT_EQ(::pread(sink.get(), &value, 8, 0), 8);
    EXPECT_EQ(value, pattern(4));
    // Neither can let go of the lock that it holds, which here is the one of the process that is
    // read.
    const UniqueFd mem(::open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(::pread(mem.get(), &value, 8, reinterpret_cast<off_t>(guide.word(5))), 8);
    EXPECT_EQ(value, pattern(5));
    EXPECT_EQ(read_of(::getpid(), guide, 6), pattern(6));
    EXPECT_THAT(pages_of(capture_.take()), ElementsAre(4, 5, 6));
}

/// Punching a hole would leave zeros where the session believes that it has a copy.
TEST_F(Process, CopiesCannotBeRemoved) {
    ASSERT_EQ(capture_.create(session_over(::getpid(), memory_)), 0);
    const Pages guide = map(capture_, pages, MAP_SHARED);
    EXPECT_EQ(guide.read(3), pattern(3));
    EXPECT_NE(::madvise(guide.word(3), page_size, MADV_REMOVE), 0);
    EXPECT_EQ(errno, EOPNOTSUPP);
    EXPECT_EQ(guide.read(3), pattern(3));
    // As root may, past the mapping.
    const auto start = reinterpret_cast<std::uintptr_t>(guide.data());
    const UniqueFd copies(
        ::open(fmt::format("/proc/self/map_files/{:x}-{:x}", start, start + guide.size()).c_str(),
               O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(copies);
    EXPECT_NE(::fallocate(copies.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, page_size),
              0);
    // What only unmaps is no loss.
    guide.write(4, 44);
    ASSERT_EQ(::madvise(guide.data(), guide.size(), MADV_DONTNEED), 0);
    EXPECT_EQ(guide.read(3), pattern(3));
    EXPECT_EQ(guide.read(4), 44U);
}

void schedule(int policy, int priority) {
    const sched_param param{.sched_priority = priority};
    if (::sched_setscheduler(0, policy, &param) != 0)
        throw std::runtime_error("sched_setscheduler");
}

/// An access that can neither wait for the process's mmap lock nor drop its own: it is repeated
/// rather than failed.
TEST_F(Process, BusyMemoryMapOfTheProcessIsNoBusError) {
    constexpr std::size_t many = 8192;
    const Pages big = anonymous(many);
    fill(big);
    const Pages stop(-1, 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    // On one CPU, a thread that others leave next to no time to is preempted with the lock held.
    Child source([&] {
        cpu_set_t first;
        CPU_ZERO(&first);
        CPU_SET(0, &first);
        if (::sched_setaffinity(0, sizeof(first), &first) != 0)
            return 1;
        std::vector<std::jthread> spinners;
        for (int i = 0; i < 2; ++i)
            spinners.emplace_back([&] {
                while (stop.read(0) == 0) {
                }
            });
        schedule(SCHED_IDLE, 0);
        for (int prot = PROT_READ; stop.read(0) == 0; prot ^= PROT_WRITE)
            ::mprotect(big.data(), big.size(), prot);
        spinners.clear();
        ::pause();
        return 0;
    });
    ASSERT_EQ(capture_.create(session_over(source.pid(), big)), 0);
    std::this_thread::sleep_for(500ms);
    Child reader([&] {
        const Pages guide = map(capture_, many);
        const UniqueFd mem(::open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
        schedule(SCHED_FIFO, 1);
        for (std::size_t page = 0; page < 8; ++page) {
            std::uint64_t value = 0;
            const auto at = reinterpret_cast<off_t>(guide.word(page));
            if (::pread(mem.get(), &value, 8, at) != 8 || value != pattern(page))
                return static_cast<int>(page) + 1;
        }
        return 0;
    });
    // Its accesses wait as long as they must.
    const int early = reader.wait(3s);
    EXPECT_TRUE(early == 0 || early == -1) << early;
    stop.write(0, 1);
    EXPECT_EQ(reader.wait(), 0);
}

TEST_F(Process, ThreadsRacingForAPageMakeOneCopy) {
    constexpr std::size_t many = 512;
    const Pages big = anonymous(many);
    fill(big);
    auto arg = session_over(::getpid(), big);
    arg.ring_entries = 1024;
    ASSERT_EQ(capture_.create(arg), 0);
    const Pages guide = map(capture_, many, MAP_SHARED);
    {
        std::vector<std::jthread> workers;
        for (int worker = 0; worker < 4; ++worker)
            workers.emplace_back([&] {
                for (std::size_t page = 0; page < many; ++page) {
                    // A copy after somebody's increment would lose it.
                    __atomic_fetch_add(guide.word(page), 1, __ATOMIC_RELAXED);
                }
            });
    }
    for (std::size_t page = 0; page < many; ++page)
        EXPECT_EQ(guide.read(page), pattern(page) + 4);
    EXPECT_EQ(capture_.take().size(), many);
    EXPECT_EQ(capture_.stats().copied, many);
}

TEST_F(Process, FullRingHoldsUpTheGuideAndNothingElse) {
    const Pages big = anonymous(2 * small_ring);
    fill(big);
    const Source source(big);
    ASSERT_EQ(capture_.create(source.session()), 0);
    Child guide([&] {
        const Pages memory = map(capture_, 2 * small_ring);
        for (std::size_t page = 0; page < 2 * small_ring; ++page)
            if (memory.read(page) != pattern(page))
                return 1;
        return 0;
    });
    ASSERT_TRUE(eventually([&] { return capture_.stats().waiting == 1; }));
    EXPECT_EQ(read_of(source.pid(), big, 2 * small_ring - 1), pattern(2 * small_ring - 1));
    std::size_t taken = 0;
    EXPECT_TRUE(eventually([&] { return (taken += capture_.take().size()) == 2 * small_ring; }));
    EXPECT_EQ(guide.wait(), 0);
}

TEST_F(Process, RearmWhileAGuideRuns) {
    auto arg = session_over(::getpid(), memory_);
    arg.ring_entries = 4096;
    ASSERT_EQ(capture_.create(arg), 0);
    Child guide([&] {
        const Pages memory = map(capture_, pages, MAP_SHARED);
        for (;;)
            for (std::size_t page = 0; page < pages; ++page)
                if (memory.read(page) != pattern(page))
                    return 1;
    });
    std::uint64_t seen = 0;
    for (int round = 0; round < 200; ++round) {
        ASSERT_EQ(capture_.rearm(0, pages), 0);
        // In the midst of faults, however short. Then each page once more: none has stayed mapped.
        for (int again = 0; again < 50; ++again)
            ASSERT_EQ(capture_.rearm(0, pages), 0);
        ASSERT_TRUE(eventually([&] {
            seen += capture_.take().size();
            return capture_.stats().touched == pages;
        })) << round;
    }
    EXPECT_EQ(guide.wait(0ms), -1);
    guide.signal(SIGKILL);
    guide.wait();
    seen += capture_.take().size();
    const gc_stats stats = capture_.stats();
    EXPECT_EQ(stats.records, seen);
    EXPECT_EQ(stats.records, stats.rearmed + stats.touched);
}

TEST_F(Process, RefusedProcesses) {
    const auto refusal = [&](const std::function<void(gc_session_create&)>& change) {
        auto arg = session_over(::getpid(), memory_);
        change(arg);
        return RawCapture().create(arg);
    };
    EXPECT_EQ(refusal([](auto&) {}), 0);
    EXPECT_EQ(refusal([](auto& arg) { arg.pid = 0; }), EINVAL);
    EXPECT_EQ(refusal([](auto& arg) { arg.pid = -1; }), EINVAL);
    EXPECT_EQ(refusal([](auto& arg) { arg.backing_fd = 0; }), EINVAL);
    EXPECT_EQ(refusal([](auto& arg) { arg.flags = 0; }), EINVAL) << "a pid without its flag";
    EXPECT_EQ(refusal([](auto& arg) { arg.length = 0; }), EINVAL);
    EXPECT_EQ(refusal([](auto& arg) { arg.length += 1; }), EINVAL);
    EXPECT_EQ(refusal([](auto& arg) { arg.backing_offset += 1; }), EINVAL);
    EXPECT_EQ(refusal([](auto& arg) { arg.length = std::uint64_t{1} << 44; }), EFBIG);
    EXPECT_EQ(refusal([](auto& arg) { arg.backing_offset = 0; }), ERANGE);
    EXPECT_EQ(refusal([](auto& arg) { arg.backing_offset = std::uint64_t{1} << 63; }), ERANGE);
    EXPECT_EQ(refusal([](auto& arg) { arg.backing_offset = UINT64_MAX - page_size + 1; }), ERANGE);
    Child ended([] { return 0; });
    ended.wait();
    EXPECT_EQ(refusal([&](auto& arg) { arg.pid = ended.pid(); }), ESRCH);
    EXPECT_EQ(refusal([&](auto& arg) { arg.pid = 2; }), ESRCH) << "a kernel thread has no memory";

    ASSERT_EQ(::mprotect(memory_.word(3), page_size, PROT_NONE), 0);
    EXPECT_EQ(refusal([](auto&) {}), ERANGE);
    ASSERT_EQ(::munmap(memory_.word(3), page_size), 0);
    EXPECT_EQ(refusal([](auto&) {}), ERANGE);
    ASSERT_NE(::mmap(memory_.word(3), page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                     -1, 0),
              MAP_FAILED);
    EXPECT_EQ(refusal([](auto&) {}), 0);
}

TEST_F(Process, NeedsTheRightToReadIt) {
    const Source source(memory_);
    Child other([&] {
        RawCapture capture;  // the device file is root's; the right to ask is not the right to read
        if (::setresuid(65534, 65534, 65534) != 0)
            return 1;
        return capture.create(source.session()) == EPERM ? 0 : 2;
    });
    EXPECT_EQ(other.wait(), 0);
}

}  // namespace
}  // namespace gc::capture::test

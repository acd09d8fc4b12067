// SPDX-License-Identifier: GPL-2.0-or-later
// Tracks of a running VM: what its vCPUs access, and what becomes of its memory meanwhile.
#include "mini_vm.h"
#include "raw_capture.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <numeric>
#include <poll.h>
#include <set>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace gc::capture::test {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;
using testing::UnorderedElementsAreArray;
using enum MiniVm::Access;

constexpr std::size_t pages = 256;
constexpr std::uint64_t ram_gpa = std::uint64_t{16} << 20;
constexpr std::size_t huge_size = std::size_t{2} << 20;
constexpr std::size_t huge_pages = huge_size / page_size;
constexpr unsigned huge_order = 9;

constexpr std::uint64_t gpa_of(std::size_t page) {
    return ram_gpa + page * page_size;
}

Pages anonymous(std::size_t count) {
    return Pages(-1, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE);
}

gc_range range_of(const Pages& memory, std::size_t first = 0, std::size_t count = 0) {
    return {.address = reinterpret_cast<std::uintptr_t>(memory.word(first)),
            .length = count != 0 ? count * page_size : memory.size() - first * page_size};
}

gc_track_create track_of(int vm, gc_track_mode mode, std::uint32_t entries = 0) {
    auto arg = argument<gc_track_create>();
    arg.kvm_fd = vm;
    arg.mode = mode;
    arg.ring_entries = entries;
    return arg;
}

gc_scan scan_of(std::uint64_t first, std::uint64_t count) {
    auto arg = argument<gc_scan>();
    arg.first = first;
    arg.count = count;
    return arg;
}

class Track : public testing::Test {
  protected:
    Track() {
        for (std::size_t page = 0; page < pages; ++page)
            memory_.write(page, pattern(page));
        vm_.set_slot(1, ram_gpa, memory_.data(), memory_.size());
    }

    int create(gc_track_mode mode, std::uint32_t entries = 0) {
        return capture_.create(track_of(vm_.fd(), mode, entries), {range_of(memory_)});
    }

    void touch(std::size_t page, MiniVm::Access kind = read, unsigned vcpu = 0) {
        ASSERT_TRUE(vm_.access(kind, gpa_of(page), vcpu)) << page;
    }

    /// The pages that a scan of all finds.
    std::vector<std::uint64_t> scan() {
        gc_scan arg = scan_of(0, pages);
        EXPECT_EQ(capture_.scan(arg), 0);
        EXPECT_EQ(arg.scanned, pages);
        const auto records = capture_.take();
        EXPECT_EQ(arg.young, records.size());
        EXPECT_THAT(records, Each(Field(&gc_record::kind, GC_KIND_ANY)));
        EXPECT_THAT(records, Each(Field(&gc_record::vcpu, GC_NO_VCPU)));
        return pages_of(records);
    }

    Pages memory_ = anonymous(pages);
    MiniVm vm_{2};
    RawCapture capture_;
};

TEST_F(Track, OrderRecordsEachFirstAccessInItsOrder) {
    ASSERT_EQ(create(GC_TRACK_ORDER), 0);
    MiniVm::put_halt(memory_, 30);
    touch(10);
    touch(20, write, 1);
    touch(30, execute);
    touch(10, write);
    touch(20);
    touch(0);
    const auto records = capture_.take();
    ASSERT_THAT(pages_of(records), ElementsAre(10, 20, 30, 0));
    EXPECT_EQ(records[0].kind, GC_KIND_READ);
    EXPECT_EQ(records[1].kind, GC_KIND_WRITE);
    EXPECT_EQ(records[2].kind, GC_KIND_EXEC);
    EXPECT_EQ(records[0].vcpu, 0U);
    EXPECT_EQ(records[1].vcpu, 1U);
    for (const gc_record& record : records) {
        EXPECT_EQ(record.order, 0U);
        EXPECT_EQ(record.reserved, 0U);
        EXPECT_EQ(record.tid, static_cast<std::uint32_t>(::gettid()));
    }
    const gc_stats stats = capture_.stats();
    EXPECT_EQ(stats.pages, pages);
    EXPECT_EQ(stats.touched, 4U);
    EXPECT_EQ(stats.records, 4U);
    EXPECT_EQ(stats.unresolved, 0U);
    EXPECT_EQ(stats.dropped, 0U);
}

TEST_F(Track, MemoryIsWhatItWas) {
    ASSERT_EQ(create(GC_TRACK_ORDER), 0);
    for (std::size_t page = 0; page < pages; ++page)
        touch(page, page % 2 == 0 ? read : write);
    ASSERT_EQ(capture_.rearm(0, pages), 0);
    for (std::size_t page = 0; page < pages; page += 2)
        EXPECT_EQ(memory_.read(page), pattern(page));
    // The guest wrote eax, which it had zeroed, over the low half.
    for (std::size_t page = 1; page < pages; page += 2)
        EXPECT_EQ(memory_.read(page), pattern(page) >> 32 << 32);
}

TEST_F(Track, RearmedPagesAreRecordedAgain) {
    ASSERT_EQ(create(GC_TRACK_ORDER), 0);
    for (std::size_t page = 0; page < 8; ++page)
        touch(page);
    EXPECT_EQ(capture_.take().size(), 8U);
    ASSERT_EQ(capture_.rearm(2, 3), 0);
    for (std::size_t page = 8; page-- > 0;)
        touch(page);
    EXPECT_THAT(pages_of(capture_.take()), ElementsAre(4, 3, 2));
    EXPECT_EQ(capture_.stats().rearmed, 3U);
    EXPECT_EQ(capture_.rearm(0, 0), EINVAL);
    EXPECT_EQ(capture_.rearm(0, pages + 1), ERANGE);
    EXPECT_EQ(capture_.rearm(pages, 1), ERANGE);
}

TEST_F(Track, WhatTheVmHasMappedBeforeIsSeenToo) {
    for (std::size_t page = 0; page < pages; ++page)
        touch(page, write);
    ASSERT_EQ(create(GC_TRACK_ORDER), 0);
    touch(3);
    EXPECT_THAT(pages_of(capture_.take()), ElementsAre(3));
}

TEST_F(Track, RangesAreNumberedThrough) {
    const Pages other = anonymous(pages);
    vm_.set_slot(2, ram_gpa + 4 * pages * page_size, other.data(), other.size());
    const auto order = track_of(vm_.fd(), GC_TRACK_ORDER);
    ASSERT_EQ(capture_.create(order, {range_of(other, 100, 10), range_of(memory_, 0, 5),
                                      range_of(memory_, 200)}),
              0);
    EXPECT_EQ(capture_.stats().pages, 15 + pages - 200);
    touch(4);
    touch(5);
    touch(200);
    touch(pages - 1);
    ASSERT_TRUE(vm_.access(read, ram_gpa + (4 * pages + 109) * page_size));
    ASSERT_TRUE(vm_.access(read, ram_gpa + (4 * pages + 110) * page_size));
    EXPECT_THAT(pages_of(capture_.take()), ElementsAre(14, 15, 14 + pages - 200, 9));
}

TEST_F(Track, MovedSlotKeepsItsPages) {
    ASSERT_EQ(create(GC_TRACK_ORDER), 0);
    touch(1);
    constexpr std::uint64_t elsewhere = ram_gpa + 64 * huge_size;
    vm_.set_slot(1, ram_gpa, memory_.data(), 0);
    EXPECT_FALSE(vm_.access(read, gpa_of(2))) << "no memory, but a device";
    vm_.set_slot(1, elsewhere, memory_.data(), memory_.size());
    ASSERT_TRUE(vm_.access(read, elsewhere + 1 * page_size));
    ASSERT_TRUE(vm_.access(read, elsewhere + 2 * page_size));
    EXPECT_THAT(pages_of(capture_.take()), ElementsAre(1, 2));
    ASSERT_EQ(capture_.rearm(0, pages), 0);
    ASSERT_TRUE(vm_.access(write, elsewhere + 2 * page_size));
    EXPECT_THAT(pages_of(capture_.take()), ElementsAre(2));
    EXPECT_EQ(capture_.stats().unresolved, 0U);
}

TEST_F(Track, FullRingDropsAndCounts) {
    ASSERT_EQ(create(GC_TRACK_ORDER, small_ring), 0);
    for (std::size_t page = 0; page < pages; ++page)
        touch(page);
    EXPECT_EQ(capture_.stats().dropped, pages - small_ring);
    EXPECT_EQ(capture_.stats().blocked, 0U);
    EXPECT_EQ(capture_.take().size(), small_ring);
    // Sized for all pages, none is.
    RawCapture whole;
    ASSERT_EQ(whole.create(track_of(vm_.fd(), GC_TRACK_ORDER), {range_of(memory_)}), 0);
    for (std::size_t page = 0; page < pages; ++page)
        touch(page);
    EXPECT_EQ(whole.stats().dropped, 0U);
    EXPECT_EQ(whole.take().size(), pages);
}

TEST_F(Track, AgeFindsWhatWasAccessed) {
    ASSERT_EQ(create(GC_TRACK_AGE), 0);
    (void)scan();
    const std::vector<std::uint64_t> touched{0, 1, 77, 78, 200, pages - 1};
    for (const std::uint64_t page : touched)
        touch(page, page % 2 == 0 ? read : write);
    EXPECT_THAT(scan(), UnorderedElementsAreArray(touched));
    EXPECT_THAT(scan(), IsEmpty());
    EXPECT_EQ(capture_.stats().records, touched.size());
    EXPECT_EQ(capture_.stats().touched, 0U);
}

TEST_F(Track, AgeTakesNothingAway) {
    for (std::size_t page = 0; page < pages; ++page)
        touch(page);
    RawCapture order;
    ASSERT_EQ(order.create(track_of(vm_.fd(), GC_TRACK_ORDER), {range_of(memory_)}), 0);
    for (std::size_t page = 0; page < pages; ++page)
        touch(page);
    ASSERT_EQ(order.take().size(), pages);
    ASSERT_EQ(create(GC_TRACK_AGE), 0);
    EXPECT_EQ(scan().size(), 0U) << "arming forgets";
    for (std::size_t page = 0; page < pages; ++page)
        touch(page);
    (void)scan();
    ASSERT_EQ(capture_.rearm(0, pages), 0);
    // A page that had been taken away would have come back by a fault, which the order track sees.
    ASSERT_EQ(order.stats().touched, pages);
    EXPECT_EQ(order.stats().records, pages);
}

TEST_F(Track, ScanGoesOnWhereItEnded) {
    ASSERT_EQ(create(GC_TRACK_AGE, small_ring), 0);
    for (std::size_t page = 0; page < pages; ++page)
        touch(page);
    std::vector<std::uint64_t> found;
    for (std::uint64_t first = 0; first < pages;) {
        gc_scan arg = scan_of(first, pages - first);
        ASSERT_EQ(capture_.scan(arg), 0);
        EXPECT_LE(arg.scanned, small_ring);
        ASSERT_GT(arg.scanned, 0U);
        first += arg.scanned;
        const auto records = capture_.take();
        EXPECT_EQ(records.size(), arg.young);
        for (const gc_record& record : records)
            found.push_back(record.page);
    }
    std::vector<std::uint64_t> all(pages);
    std::iota(all.begin(), all.end(), 0U);
    EXPECT_EQ(found, all);
    EXPECT_EQ(capture_.stats().dropped, 0U);
}

TEST_F(Track, ScanOfPartsAndOfNothing) {
    ASSERT_EQ(create(GC_TRACK_AGE), 0);
    touch(5);
    touch(6);
    gc_scan arg = scan_of(6, 1);
    ASSERT_EQ(capture_.scan(arg), 0);
    EXPECT_EQ(arg.scanned, 1U);
    EXPECT_EQ(arg.young, 1U);
    EXPECT_THAT(pages_of(capture_.take()), ElementsAre(6));
    arg = scan_of(0, 0);
    EXPECT_EQ(capture_.scan(arg), EINVAL);
    arg = scan_of(0, pages + 1);
    EXPECT_EQ(capture_.scan(arg), ERANGE);
    RawCapture order;
    ASSERT_EQ(order.create(track_of(vm_.fd(), GC_TRACK_ORDER), {range_of(memory_)}), 0);
    arg = scan_of(0, 1);
    EXPECT_EQ(order.scan(arg), ENOTTY);
}

TEST_F(Track, UnmappedRangeIsLostAndTheOtherIsNot) {
    ASSERT_EQ(capture_.create(track_of(vm_.fd(), GC_TRACK_ORDER),
                              {range_of(memory_, 0, 100), range_of(memory_, 100)}),
              0);
    touch(1);
    EXPECT_EQ(capture_.stats().unmapped, 0U);
    ASSERT_EQ(::madvise(memory_.word(2), page_size, MADV_DONTNEED), 0);
    EXPECT_EQ(capture_.stats().unmapped, 0U) << "that memory is still where it was";
    ASSERT_NE(::mmap(memory_.word(50), page_size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
              MAP_FAILED);
    EXPECT_EQ(capture_.stats().unmapped, 100U);
    touch(50);
    touch(2);
    touch(150);
    EXPECT_THAT(pages_of(capture_.take()), ElementsAre(1, 150));
    ASSERT_EQ(capture_.rearm(0, pages), 0);
    touch(150);
    EXPECT_THAT(pages_of(capture_.take()), ElementsAre(150));
}

/// Where 2 MiB can be one page.
std::size_t huge_start(const Pages& room) {
    const auto misfit = reinterpret_cast<std::uintptr_t>(room.data()) % huge_size / page_size;
    return (huge_pages - misfit) % huge_pages;
}

TEST_F(Track, HugePageIsOneRecordOfItsOrder) {
    const Pages room(-1, 3 * huge_pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    const std::size_t first = huge_start(room);
    ASSERT_EQ(::madvise(room.word(first), 2 * huge_size, MADV_HUGEPAGE), 0);
    for (std::size_t page = first; page < first + 2 * huge_pages; ++page)
        room.write(page, 1);
    constexpr std::uint64_t gpa = 64 * huge_size;
    vm_.set_slot(2, gpa, reinterpret_cast<std::byte*>(room.word(first)), 2 * huge_size);
    for (const gc_track_mode mode : {GC_TRACK_ORDER, GC_TRACK_AGE}) {
        RawCapture capture;
        ASSERT_EQ(capture.create(track_of(vm_.fd(), mode), {range_of(room, first, 2 * huge_pages)}),
                  0);
        ASSERT_TRUE(vm_.access(write, gpa + huge_size + 7 * page_size));
        ASSERT_TRUE(vm_.access(read, gpa + huge_size + 100 * page_size));
        if (mode == GC_TRACK_AGE) {
            gc_scan arg = scan_of(0, 2 * huge_pages);
            ASSERT_EQ(capture.scan(arg), 0);
            EXPECT_EQ(arg.scanned, 2 * huge_pages);
            EXPECT_EQ(arg.young, huge_pages);
        } else {
            EXPECT_EQ(capture.stats().touched, huge_pages);
        }
        const auto records = capture.take();
        ASSERT_THAT(pages_of(records), ElementsAre(huge_pages));
        EXPECT_EQ(records[0].order, huge_order);
    }
}

TEST_F(Track, HugePageThatIsNotAllTrackedCountsAsSmall) {
    const Pages room(-1, 2 * huge_pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    const std::size_t first = huge_start(room);
    ASSERT_EQ(::madvise(room.word(first), huge_size, MADV_HUGEPAGE), 0);
    for (std::size_t page = first; page < first + huge_pages; ++page)
        room.write(page, 1);
    constexpr std::uint64_t gpa = 64 * huge_size;
    vm_.set_slot(2, gpa, reinterpret_cast<std::byte*>(room.word(first)), huge_size);
    ASSERT_EQ(capture_.create(track_of(vm_.fd(), GC_TRACK_ORDER),
                              {range_of(room, first + 1, huge_pages - 1)}),
              0);
    ASSERT_TRUE(vm_.access(read, gpa + 7 * page_size));
    const auto records = capture_.take();
    ASSERT_THAT(pages_of(records), ElementsAre(6));
    EXPECT_EQ(records[0].order, 0U);
}

TEST_F(Track, EveryAccessIsSeenWhileRearmed) {
    ASSERT_EQ(create(GC_TRACK_ORDER, 2 * pages), 0);
    std::uint64_t seen = 0;
    for (int round = 0; round < 20; ++round) {
        {
            std::vector<std::jthread> vcpus;
            for (unsigned vcpu = 0; vcpu < 2; ++vcpu)
                vcpus.emplace_back([&, vcpu] {
                    for (std::size_t page = vcpu; page < pages; page += 2)
                        if (!vm_.access(page % 3 == 0 ? write : read, gpa_of(page), vcpu))
                            return;
                });
            for (int again = 0; again < 10; ++again) {
                ASSERT_EQ(capture_.rearm(0, pages), 0);
                seen += capture_.take().size();
            }
        }
        // What is armed now is mapped nowhere: each access makes its record.
        seen += capture_.take().size();
        const std::uint64_t armed = pages - capture_.stats().touched;
        for (std::size_t page = 0; page < pages; ++page)
            touch(page);
        const std::size_t fresh = capture_.take().size();
        ASSERT_EQ(fresh, armed) << round;
        seen += fresh;
    }
    const gc_stats stats = capture_.stats();
    EXPECT_EQ(stats.dropped, 0U);
    EXPECT_EQ(stats.records, seen);
    EXPECT_EQ(stats.records, stats.rearmed + stats.touched);
}

TEST_F(Track, ComesAndGoesWhileTheVmRuns) {
    std::atomic<bool> stop = false;
    std::atomic<std::uint64_t> failed = 0;
    {
        std::vector<std::jthread> vcpus;
        for (unsigned vcpu = 0; vcpu < 2; ++vcpu)
            vcpus.emplace_back([&, vcpu] {
                for (std::size_t page = 0; !stop; ++page)
                    if (!vm_.access(write, gpa_of(page % pages), vcpu))
                        ++failed;
            });
        for (int round = 0; round < 30; ++round) {
            RawCapture order;
            RawCapture age;
            EXPECT_EQ(order.create(track_of(vm_.fd(), GC_TRACK_ORDER), {range_of(memory_)}), 0);
            EXPECT_EQ(age.create(track_of(vm_.fd(), GC_TRACK_AGE), {range_of(memory_)}), 0);
            EXPECT_TRUE(eventually([&] { return !order.take().empty(); }));
        }
        stop = true;
    }
    EXPECT_EQ(failed, 0U);
}

/// A VM in a process of its own that touches page after page until it is killed; and its KVM
/// descriptor here.
class OtherVm {
  public:
    explicit OtherVm(const Pages& memory)
        : child_([&] {
              const MiniVm vm;
              vm.set_slot(1, ram_gpa, memory.data(), memory.size());
              shared_->fd = vm.fd();
              for (std::size_t page = 0;; page = (page + 1) % pages)
                  if (!vm.access(read, gpa_of(page)))
                      return 1;
          }) {
        if (!eventually([&] { return shared_->fd >= 0; }))
            throw std::runtime_error("the VM did not start");
        const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, child_.pid(), 0)));
        vm_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), shared_->fd, 0)));
    }

    [[nodiscard]] int fd() const { return vm_.get(); }
    void end() {
        child_.signal(SIGKILL);
        child_.wait();
    }

  private:
    struct Shared {
        volatile int fd;
    };
    Pages page_{-1, 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS};
    Shared* shared_ = [this] {
        auto* shared = reinterpret_cast<Shared*>(page_.word(0));
        shared->fd = -1;
        return shared;
    }();
    Child child_;
    UniqueFd vm_;
};

TEST_F(Track, VmOfAnotherProcessAndItsEnd) {
    for (const gc_track_mode mode : {GC_TRACK_ORDER, GC_TRACK_AGE}) {
        OtherVm other(memory_);
        RawCapture capture;
        ASSERT_EQ(capture.create(track_of(other.fd(), mode), {range_of(memory_)}), 0);
        std::set<std::uint64_t> found;
        EXPECT_TRUE(eventually([&] {
            gc_scan arg = scan_of(0, pages);
            if (mode == GC_TRACK_AGE && capture.scan(arg) != 0)
                return false;
            for (const gc_record& record : capture.take())
                found.insert(record.page);
            return found.size() == pages;
        }));
        EXPECT_EQ(poll_events(capture.fd()) & POLLHUP, 0);
        other.end();
        EXPECT_NE(poll_events(capture.fd(), 20s) & POLLHUP, 0);
        if (mode == GC_TRACK_AGE) {
            gc_scan arg = scan_of(0, pages);
            EXPECT_EQ(capture.scan(arg), ESRCH);
            EXPECT_EQ(capture.rearm(0, pages), ESRCH);
        } else {
            EXPECT_EQ(capture.rearm(0, pages), 0);
        }
        // Its descriptor, which we hold, is of a VM that nobody runs.
        EXPECT_EQ(RawCapture().create(track_of(other.fd(), mode), {range_of(memory_)}), ESRCH);
    }
}

/// The number of pages that a scan says it has done is that of the page that the host maps. Of the
/// kernel's addresses it would tell where the kernel is.
TEST_F(Track, AddressesOfTheKernelAreRefused) {
    constexpr std::uint64_t user_end = (std::uint64_t{1} << 47) - page_size;
    constexpr std::uint64_t huge = huge_size;
    for (const gc_range& range : {
             gc_range{0xffffffff80000000, std::uint64_t{1} << 30},  // its text
             gc_range{0xffff888000000000, huge},                    // the direct map
             gc_range{0xffff800000000000, huge},                    // the first address
             gc_range{std::uint64_t{1} << 63, page_size},           // not canonical
             gc_range{std::uint64_t{1} << 56, page_size},
             gc_range{user_end, page_size},  // the guard page
             gc_range{user_end - page_size, 2 * page_size},
             gc_range{user_end - huge, 2 * huge},
         })
        for (const gc_track_mode mode : {GC_TRACK_ORDER, GC_TRACK_AGE})
            EXPECT_EQ(RawCapture().create(track_of(vm_.fd(), mode, small_ring), {range}), EINVAL)
                << fmt::format("{:x}", std::uint64_t{range.address});
    EXPECT_EQ(RawCapture().create(track_of(vm_.fd(), GC_TRACK_AGE, small_ring),
                                  {{user_end - page_size, page_size}}),
              0);
}

/// Pages that do not exist take a ring all the same.
TEST_F(Track, MemoryIsChargedToTheUser) {
    constexpr gc_range many{std::uint64_t{1} << 40, std::uint64_t{1} << 36};
    Child user([&] {
        RawCapture capture;
        const MiniVm own;
        const rlimit limit{1 << 20, 1 << 20};
        if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || ::setresuid(65534, 65534, 65534) != 0)
            return 100;
        if (capture.create(track_of(own.fd(), GC_TRACK_ORDER), {many}) != ENOMEM)
            return 1;
        if (capture.create(track_of(own.fd(), GC_TRACK_ORDER, small_ring), {many}) != ENOMEM)
            return 2;  // the bits of 2^24 pages
        return capture.create(track_of(own.fd(), GC_TRACK_ORDER), {range_of(memory_)}) == 0 ? 0 : 3;
    });
    EXPECT_EQ(user.wait(), 0);
}

TEST_F(Track, RingHasAMaximum) {
    const Setting small("/sys/module/guidecopy/parameters/max_track_entries", "128");
    ASSERT_TRUE(small.ok());
    EXPECT_EQ(create(GC_TRACK_ORDER, 2 * 128), ENOBUFS);
    ASSERT_EQ(create(GC_TRACK_ORDER), 0);
    for (std::size_t page = 0; page < pages; ++page)
        touch(page);
    EXPECT_EQ(capture_.take().size(), 128U);
    EXPECT_EQ(capture_.stats().dropped, pages - 128);
}

TEST_F(Track, Refusals) {
    const gc_range good = range_of(memory_);
    const auto refusal = [&](const std::vector<gc_range>& ranges, auto change) {
        auto arg = track_of(vm_.fd(), GC_TRACK_ORDER);
        change(arg);
        return RawCapture().create(arg, ranges);
    };
    const auto same = [](auto&) {};
    EXPECT_EQ(refusal({good}, same), 0);
    EXPECT_EQ(refusal({good}, [](auto& arg) { arg.mode = 0; }), EINVAL);
    EXPECT_EQ(refusal({good}, [](auto& arg) { arg.mode = 3; }), EINVAL);
    EXPECT_EQ(refusal({good}, [](auto& arg) { arg.ring_entries = 65; }), EINVAL);
    EXPECT_EQ(refusal({good}, [](auto& arg) { arg.ring_entries = 32; }), EINVAL);
    EXPECT_EQ(refusal({good}, [](auto& arg) { arg.ring_entries = 2 * pages; }), 0);
    EXPECT_EQ(refusal({good}, [](auto& arg) { arg.ring_entries = 4 * pages; }), ENOBUFS);
    EXPECT_EQ(refusal({good}, [](auto& arg) { arg.kvm_fd = -1; }), EBADF);
    EXPECT_EQ(refusal({good}, [](auto& arg) { arg.kvm_fd = 1; }), ENODEV);
    // The module knows a VM by the name of its inode.
    const std::string path = fmt::format("/dev/shm/{}/kvm-vm", ::getpid());
    std::filesystem::create_directory(std::filesystem::path(path).parent_path());
    const UniqueFd namesake(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    std::filesystem::remove_all(std::filesystem::path(path).parent_path());
    ASSERT_TRUE(namesake);
    EXPECT_EQ(refusal({good}, [&](auto& arg) { arg.kvm_fd = namesake.get(); }), ENODEV);
    EXPECT_EQ(refusal({}, same), EINVAL);
    EXPECT_EQ(refusal(std::vector(GC_TRACK_MAX_RANGES + 1, good), same), EINVAL);
    EXPECT_EQ(refusal({good, good}, same), EINVAL) << "they overlap";
    EXPECT_EQ(refusal({{good.address, 0}}, same), EINVAL);
    EXPECT_EQ(refusal({{good.address + 1, page_size}}, same), EINVAL);
    EXPECT_EQ(refusal({{good.address, page_size + 1}}, same), EINVAL);
    EXPECT_EQ(refusal({{good.address, std::uint64_t{1} << 44}}, same), EFBIG);
    EXPECT_EQ(refusal({{UINT64_MAX - page_size + 1, 2 * page_size}}, same), EINVAL);
    EXPECT_EQ(refusal({{UINT64_MAX - page_size + 1, page_size}}, same), EINVAL) << "ends at 2^64";

    ASSERT_EQ(create(GC_TRACK_ORDER), 0);
    EXPECT_EQ(create(GC_TRACK_ORDER), EBUSY);
    const UniqueFd file = memory_file(1);
    auto session = argument<gc_session_create>();
    session.backing_fd = file.get();
    session.ring_entries = small_ring;
    session.length = page_size;
    EXPECT_EQ(capture_.create(session), EBUSY);
    auto arg = track_of(vm_.fd(), GC_TRACK_ORDER);
    arg.range_count = 1;
    arg.ranges = 1;
    EXPECT_EQ(errno_of(open_control().get(), GC_IOC_TRACK_CREATE, &arg), EFAULT);
}

}  // namespace
}  // namespace gc::capture::test

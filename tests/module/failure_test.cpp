// SPDX-License-Identifier: GPL-2.0-or-later
// Every allocation of a session's and of a track's life fails once (Documentation/fault-injection
// of Linux). Needs a kernel with fault injection: the debug kernel.
#include "mini_vm.h"
#include "raw_capture.h"
#include "util/process_maps.h"

#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <unistd.h>

namespace gc::capture::test {
namespace {

constexpr const char* fail_nth = "/proc/thread-self/fail-nth";
constexpr std::size_t pages = 4 * small_ring;
constexpr int many_failures = 1'000'000;

/// Has the nth allocation, or copy from or to user space, of this thread fail; 0: none.
void set_nth(int fd, unsigned nth) {
    const std::string text = std::to_string(nth);
    // That of the first write may be the one.
    for (int attempt = 0; attempt < 2; ++attempt)
        if (::pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()))
            return;
    throw std::runtime_error(fail_nth);
}

/// Whether it has not come to that yet.
bool is_pending(int fd) {
    char text[16] = {};
    if (::pread(fd, text, sizeof(text) - 1, 0) <= 0)
        return true;  // it was this one
    return std::strtoul(text, nullptr, 10) != 0;
}

/// munmap(2) may be what failed. What is still mapped of a session, by what it is a mapping of.
void unmap_the_rest() {
    const auto maps = read_process_maps(::getpid());
    if (!maps)
        throw std::runtime_error(maps.error().message);
    for (const MapsLine& line : *maps)
        if (line.path.starts_with("/dev/guidecopy") || line.path.starts_with("/memfd:guidecopy") ||
            line.path == "/guidecopy (deleted)")
            ::munmap(reinterpret_cast<void*>(line.start), line.end - line.start);
}

class Failure : public testing::Test {
  protected:
    void SetUp() override {
        fd_ = UniqueFd(::open(fail_nth, O_RDWR | O_CLOEXEC));
        if (!fd_)
            GTEST_SKIP() << "this kernel has no fault injection";
        ASSERT_TRUE(slab_.ok() && page_.ok() && copy_quiet_.ok())
            << "expected CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC, CONFIG_FAULT_INJECTION_USERCOPY";
        for (std::size_t page = 0; page < pages; ++page)
            memory_.write(page, pattern(page));
    }

    /// Runs it as often as it has allocations, and one of them fails each time.
    void sweep(const std::function<bool()>& life) {
        ASSERT_TRUE(life()) << "nothing fails yet";
        unsigned failed = 0;
        for (unsigned nth = 1;; ++nth) {
            ASSERT_LT(nth, 5000U);
            set_nth(fd_.get(), nth);
            bool done = false;
            try {
                done = life();
            } catch (const std::exception&) {
                done = false;  // what the tests' own code says of a failure
            }
            const bool injected = !is_pending(fd_.get());
            set_nth(fd_.get(), 0);
            unmap_the_rest();
            if (!injected) {
                EXPECT_TRUE(done);
                break;
            }
            failed += done ? 0 : 1;
        }
        EXPECT_GT(failed, 0U) << "no failure was ever seen";
        EXPECT_LT(slab_failures_left(), many_failures) << "failslab made none of them fail";
        std::ifstream count("/sys/module/guidecopy/refcnt");
        std::string references;
        count >> references;
        EXPECT_EQ(references, "0");
        EXPECT_TRUE(life()) << "all works afterwards";
    }

    /// The first accesses to a node's pages, of every kind that there is; and a re-arm.
    static bool use(RawCapture& capture) {
        const UniqueFd node = open_node(capture.node());
        if (!node)
            return false;
        const Pages memory(node.get(), pages);
        for (std::size_t page = 0; page < small_ring; ++page)
            page % 2 == 0 ? memory.write(page, 1) : (void)memory.read(page);
        // The ring is full: this access is kept aside.
        const UniqueFd mem(::open("/proc/self/mem", O_RDONLY | O_CLOEXEC));
        std::uint64_t value = 0;
        (void)!::pread(mem.get(), &value, sizeof(value),
                       reinterpret_cast<off_t>(memory.word(small_ring)));
        const std::size_t taken = capture.take().size();
        if (capture.rearm(0, pages) != 0)
            return false;
        (void)memory.read(small_ring + 1);
        return taken >= small_ring;
    }

    /// Of the failures that failslab may make.
    static int slab_failures_left() {
        int left = 0;
        std::ifstream("/sys/kernel/debug/failslab/times") >> left;
        return left;
    }

    gc_session_create session() const {
        auto arg = argument<gc_session_create>();
        arg.ring_entries = small_ring;
        arg.length = pages * page_size;
        return arg;
    }

    UniqueFd fd_;
    Pages memory_{-1, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS};
    Setting slab_{"/sys/kernel/debug/failslab/ignore-gfp-wait", "N"};
    Setting slab_times_{"/sys/kernel/debug/failslab/times", std::to_string(many_failures)};
    Setting slab_quiet_{"/sys/kernel/debug/failslab/verbose", "0"};
    Setting page_{"/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N"};
    Setting page_quiet_{"/sys/kernel/debug/fail_page_alloc/verbose", "0"};
    Setting page_order_{"/sys/kernel/debug/fail_page_alloc/min-order", "0"};
    Setting copy_quiet_{"/sys/kernel/debug/fail_usercopy/verbose", "0"};
};

TEST_F(Failure, SessionOverAFile) {
    const UniqueFd file = memory_file(pages);
    sweep([&] {
        RawCapture capture;
        auto arg = session();
        arg.backing_fd = file.get();
        return capture.create(arg) == 0 && use(capture);
    });
}

TEST_F(Failure, SessionOverAProcess) {
    sweep([&] {
        RawCapture capture;
        auto arg = session();
        arg.flags = GC_SESSION_PROCESS;
        arg.backing_fd = -1;
        arg.pid = ::getpid();
        arg.backing_offset = reinterpret_cast<std::uintptr_t>(memory_.data());
        return capture.create(arg) == 0 && use(capture);
    });
}

TEST_F(Failure, Tracks) {
    const MiniVm vm;
    constexpr std::uint64_t gpa = std::uint64_t{16} << 20;
    vm.set_slot(1, gpa, memory_.data(), memory_.size());
    for (const gc_track_mode mode : {GC_TRACK_ORDER, GC_TRACK_AGE})
        sweep([&] {
            RawCapture capture;
            auto arg = argument<gc_track_create>();
            arg.kvm_fd = vm.fd();
            arg.mode = mode;
            const gc_range range{reinterpret_cast<std::uintptr_t>(memory_.data()), memory_.size()};
            if (capture.create(arg, {range}) != 0 || capture.rearm(0, pages) != 0)
                return false;
            auto scan = argument<gc_scan>();
            scan.count = pages;
            return vm.access(MiniVm::Access::write, gpa) &&
                   (mode == GC_TRACK_ORDER || capture.scan(scan) == 0) && !capture.take().empty();
        });
}

}  // namespace
}  // namespace gc::capture::test

// SPDX-License-Identifier: GPL-2.0-or-later
// Many sessions and tracks at once, in any order of events.
#include "mini_vm.h"
#include "raw_capture.h"
#include "seeded.h"

#include <array>
#include <atomic>
#include <csignal>
#include <fcntl.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace gc::capture::test {
namespace {

constexpr std::size_t pages = 512;

class Stress : public Seeded {};

/// A session over a file, or over this process's memory.
gc_session_create session_over(Random& random, const UniqueFd& file, const Pages& source) {
    auto arg = argument<gc_session_create>();
    arg.ring_entries = small_ring << random() % 4;
    arg.length = pages * page_size;
    arg.backing_fd = file.get();
    if (random() % 2 == 0) {
        arg.flags = GC_SESSION_PROCESS;
        arg.backing_fd = -1;
        arg.pid = ::getpid();
        arg.backing_offset = reinterpret_cast<std::uintptr_t>(source.data());
    }
    return arg;
}

void rearm_some(Random& random, const RawCapture& capture) {
    const std::uint64_t first = random() % pages;
    (void)capture.rearm(first, 1 + random() % (pages - first));
}

/// One life of a session: pages are touched by several threads while it is read, re-armed and
/// ended. Gives false when a page was not what it should be.
bool live(Random& random, const UniqueFd& file, const Pages& source) {
    const gc_session_create arg = session_over(random, file, source);
    RawCapture capture;
    if (capture.create(arg) != 0)
        return false;
    const UniqueFd node = open_node(capture.node());
    const Pages memory(node.get(), pages);
    std::atomic<unsigned> touching = 4;
    std::atomic<bool> right = true;
    std::vector<std::jthread> threads;
    for (unsigned thread = 0; thread < 4; ++thread)
        threads.emplace_back([&, own = Random(random())]() mutable {
            for (int i = 0; i < 1000; ++i) {
                const std::size_t page = own() % pages;
                if (memory.read(page) != pattern(page))
                    right = false;
            }
            --touching;
        });
    // A session over a process must not end before its pages are copied: that is a SIGBUS.
    const bool early = arg.flags == 0 && random() % 4 == 0;
    while (touching != 0) {
        (void)capture.take();
        if (random() % 8 == 0)
            rearm_some(random, capture);
        if (early && random() % 64 == 0)
            break;
    }
    if (early)
        capture.close();
    threads.clear();
    return right;
}

TEST_F(Stress, EightSessionsInAnyOrder) {
    const UniqueFd file = memory_file(pages);
    const Pages source(-1, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    for (std::size_t page = 0; page < pages; ++page)
        source.write(page, pattern(page));
    const RawCapture held;  // one user always: the module may never go
    std::atomic<unsigned> lives = 0;
    std::atomic<bool> right = true;
    std::atomic<bool> unloaded = false;
    {
        std::vector<std::jthread> workers;
        for (unsigned worker = 0; worker < 8; ++worker)
            workers.emplace_back([&, random = Random(seed_ + worker)]() mutable {
                while (time_left()) {
                    right = live(random, file, source) && right;
                    ++lives;
                }
            });
        workers.emplace_back([&] {
            while (time_left()) {
                if (::syscall(SYS_delete_module, "guidecopy", O_NONBLOCK) == 0)
                    unloaded = true;
                std::this_thread::sleep_for(1ms);
            }
        });
    }
    EXPECT_TRUE(right);
    EXPECT_FALSE(unloaded);
    EXPECT_GT(lives, 0U);
}

class VmStress : public Seeded {
  protected:
    static constexpr std::uint64_t gpa = std::uint64_t{16} << 20;
    static constexpr unsigned vcpus = 4;
    static constexpr int killed = 128 + SIGKILL;

    /// All vCPUs touch pages of `memory`, until the process is killed or it is time. Gives false
    /// when one could not.
    bool run_vm(Random& random, const Pages& memory) const {
        const MiniVm vm(vcpus);
        vm.set_slot(1, gpa, memory.data(), memory.size());
        return run_vcpus(random, vm, [this] { return time_left(); });
    }

    static bool run_vcpus(Random& random, const MiniVm& vm, const std::function<bool()>& go_on) {
        std::atomic<bool> right = true;
        std::vector<std::jthread> threads;
        for (unsigned vcpu = 0; vcpu < vcpus; ++vcpu)
            threads.emplace_back([&, vcpu, own = Random(random())]() mutable {
                while (right && go_on()) {
                    const std::size_t first = own() % pages;
                    const auto kind = own() % 2 == 0 ? MiniVm::Access::read : MiniVm::Access::write;
                    if (!vm.sweep(kind, gpa + first * page_size, 1 + own() % (pages - first), vcpu))
                        right = false;
                }
            });
        threads.clear();
        return right;
    }

    /// A guide is killed while its session is read and re-armed, or when that has ended.
    void guide_is_killed(Random& random, const UniqueFd& file, const Pages& source) {
        const gc_session_create arg = session_over(random, file, source);
        RawCapture capture;
        ASSERT_EQ(capture.create(arg), 0);
        Child guide([this, own = Random(random()), node = capture.node()]() mutable {
            return run_vm(own, map_node(node, pages)) ? 0 : 1;
        });
        const bool dead = random() % 2 == 0;
        if (dead) {
            ASSERT_TRUE(eventually([&] { return capture.stats().records > 0 || !time_left(); }))
                << "the guide touches nothing; its status: " << guide.wait(0ms);
        }
        for (std::uint64_t left = random() % 64; left > 0; --left) {
            records_ += capture.take().size();
            if (random() % 4 == 0)
                rearm_some(random, capture);
            std::this_thread::sleep_for(1ms);
        }
        if (dead)
            capture.close();
        guide.signal(SIGKILL);
        const int status = guide.wait();
        // What was not copied of a process is lost to the guide of a dead session.
        const bool lost = dead && arg.flags != 0 && status == 1;
        EXPECT_TRUE(status == killed || lost || (status == 0 && !time_left())) << status;
    }

    /// A VM is tracked, and its track ends before it does or after it.
    void track(Random& random) {
        const Pages memory(-1, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        const MiniVm vm(vcpus);
        vm.set_slot(1, gpa, memory.data(), memory.size());
        RawCapture capture;
        auto arg = argument<gc_track_create>();
        arg.kvm_fd = vm.fd();
        arg.mode = random() % 2 == 0 ? GC_TRACK_ORDER : GC_TRACK_AGE;
        ASSERT_EQ(capture.create(arg, {{.address = reinterpret_cast<std::uintptr_t>(memory.data()),
                                        .length = memory.size()}}),
                  0);
        std::atomic<bool> go_on = true;
        std::atomic<bool> right = true;
        std::jthread running([&, own = Random(random())]() mutable {
            right = run_vcpus(own, vm, [&] { return go_on && time_left(); });
        });
        for (std::uint64_t left = random() % 64; left > 0; --left) {
            records_ += capture.take().size();
            auto scan = argument<gc_scan>();
            scan.count = pages;
            if (random() % 2 == 0)
                (void)capture.scan(scan);  // of an age track only
            else
                rearm_some(random, capture);
        }
        if (random() % 2 == 0)
            capture.close();
        go_on = false;
        running.join();
        EXPECT_TRUE(right);
    }

    /// A VM that tracks itself, killed at any time.
    void tracked_is_killed(Random& random) {
        Child vm([this, own = Random(random())]() mutable {
            while (time_left() && !HasFailure())
                track(own);
            return HasFailure() ? 1 : 0;
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(random() % 200));
        vm.signal(SIGKILL);
        const int status = vm.wait();
        EXPECT_TRUE(status == killed || (status == 0 && !time_left())) << status;
    }

    std::atomic<std::uint64_t> records_ = 0;
};

TEST_F(VmStress, KilledAndTracked) {
    const UniqueFd file = memory_file(pages);
    const Pages source(-1, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    for (std::size_t page = 0; page < pages; ++page)
        source.write(page, pattern(page));
    std::array<std::atomic<unsigned>, 3> lives{};
    {
        std::vector<std::jthread> workers;
        for (unsigned worker = 0; worker < 3; ++worker)
            workers.emplace_back([&, worker, random = Random(seed_ + worker)]() mutable {
                // Each kind of life once at least.
                for (std::uint64_t kind = worker; lives[worker] == 0 || time_left();
                     kind = random() % 3) {
                    if (kind == 0)
                        guide_is_killed(random, file, source);
                    else if (kind == 1)
                        track(random);
                    else
                        tracked_is_killed(random);
                    ++lives[worker];
                }
            });
    }
    EXPECT_GT(records_, 0U);
    for (std::size_t page = 0; page < pages; ++page)
        EXPECT_EQ(source.read(page), pattern(page)) << page;
    std::cout << lives[0] + lives[1] + lives[2] << " lives, " << records_ << " records"
              << std::endl;
}

}  // namespace
}  // namespace gc::capture::test

// SPDX-License-Identifier: GPL-2.0-or-later
// Many sessions at once, in any order of events, and garbage in every argument. For
// GC_STRESS_SECONDS each (default 4), with the seed that is printed, or that of GC_STRESS_SEED.
#include "mini_vm.h"
#include "raw_capture.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <random>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <thread>
#include <unistd.h>

namespace gc::capture::test {
namespace {

using Clock = std::chrono::steady_clock;
using Random = std::mt19937_64;

constexpr std::size_t pages = 512;

unsigned long from_environment(const char* name, unsigned long otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? std::strtoul(text, nullptr, 10) : otherwise;
}

class Seeded : public testing::Test {
  protected:
    Seeded() { std::cout << "GC_STRESS_SEED=" << seed_ << std::endl; }

    [[nodiscard]] bool time_left() const { return Clock::now() < end_; }

    unsigned long seed_ = from_environment("GC_STRESS_SEED", std::random_device{}());
    Clock::time_point end_ =
        Clock::now() + std::chrono::seconds(from_environment("GC_STRESS_SECONDS", 4));
};
class Stress : public Seeded {};
class Fuzz : public Seeded {};

/// One life of a session: pages are touched by several threads while it is read, re-armed and
/// ended. Gives false when a page was not what it should be.
bool live(Random& random, const UniqueFd& file, const Pages& source) {
    const bool over_process = random() % 2 == 0;
    auto arg = argument<gc_session_create>();
    arg.ring_entries = small_ring << random() % 4;
    arg.length = pages * page_size;
    arg.backing_fd = over_process ? -1 : file.get();
    if (over_process) {
        arg.flags = GC_SESSION_PROCESS;
        arg.pid = ::getpid();
        arg.backing_offset = reinterpret_cast<std::uintptr_t>(source.data());
    }
    RawCapture capture;
    if (capture.create(arg) != 0)
        return false;
    const UniqueFd node(::open(capture.node().c_str(), O_RDWR | O_CLOEXEC));
    const Pages memory(node.get(), pages);
    std::atomic<unsigned> touching = 3;
    std::atomic<bool> right = true;
    std::vector<std::jthread> threads;
    for (unsigned thread = 0; thread < 3; ++thread)
        threads.emplace_back([&, own = Random(random())]() mutable {
            for (int i = 0; i < 1000; ++i) {
                const std::size_t page = own() % pages;
                if (memory.read(page) != pattern(page))
                    right = false;
            }
            --touching;
        });
    // A session over a process must not end before its pages are copied: that is a SIGBUS.
    const bool early = !over_process && random() % 4 == 0;
    while (touching != 0) {
        (void)capture.take();
        if (random() % 8 == 0) {
            const std::uint64_t first = random() % pages;
            (void)capture.rearm(first, 1 + random() % (pages - first));
        }
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
    EXPECT_GE(lives, 8U);
}

/// What an argument is made of: now valid, now not.
class Garbage {
  public:
    Garbage(Random& random, const UniqueFd& file, const MiniVm& vm, const Pages& memory)
        : random_(random), file_(file), vm_(vm), memory_(memory) {}

    std::uint64_t number() {
        switch (random_() % 6) {
        case 0:
            return random_();
        case 1:
            return random_() % 64;
        case 2:
            return (random_() % (2 * pages)) * page_size;
        case 3:
            return std::uint64_t{1} << random_() % 64;
        case 4:
            return reinterpret_cast<std::uintptr_t>(memory_.data()) + random_() % 64 * page_size;
        default:
            return UINT64_MAX - random_() % 4;
        }
    }

    int fd() {
        const std::array<int, 5> fds{file_.get(), vm_.fd(), -1, 0,
                                     static_cast<int>(random_() % 64)};
        return fds[random_() % fds.size()];
    }

    /// Bytes for any command: mostly the shape of one of them.
    std::vector<std::uint64_t> argument_bytes() {
        std::vector<std::uint64_t> bytes(page_size / 8);
        for (std::size_t i = 0; i < 16; ++i)
            bytes[i] = number();
        const std::array<std::uint32_t, 7> sizes{64, 72, 24, 8, 120, 32, 40};
        auto head = argument<gc_session_create>();
        head.size = random_() % 8 == 0 ? static_cast<std::uint32_t>(random_())
                                       : sizes[random_() % sizes.size()];
        head.flags = random_() % 4 == 0 ? static_cast<std::uint32_t>(random_()) : random_() % 2;
        head.backing_fd = fd();
        head.ring_entries = small_ring << random_() % 4;
        head.backing_offset = number();
        head.length = number() % (std::uint64_t{1} << 24);
        head.pid = random_() % 2 == 0 ? ::getpid() : 0;
        if (random_() % 4 != 0)
            std::memcpy(bytes.data(), &head, random_() % (sizeof(head) + 1));
        auto track = argument<gc_track_create>();
        track.kvm_fd = vm_.fd();
        track.mode = static_cast<std::uint32_t>(random_() % 4);
        track.range_count = static_cast<std::uint32_t>(random_() % 3);
        range_ = {number(), number() % (std::uint64_t{1} << 24)};
        track.ranges = random_() % 4 == 0 ? number() : reinterpret_cast<std::uintptr_t>(&range_);
        if (random_() % 3 == 0)
            std::memcpy(bytes.data(), &track, sizeof(track));
        return bytes;
    }

  private:
    Random& random_;
    const UniqueFd& file_;
    const MiniVm& vm_;
    const Pages& memory_;
    gc_range range_{};
};

/// Whatever a process may do to a control file, as long as there is time. Its own memory may be
/// lost by it.
int abuse(unsigned long seed, Clock::time_point end) {
    Random random(seed);
    const UniqueFd file = memory_file(pages);
    const Pages memory(-1, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    const MiniVm vm;
    vm.set_slot(1, std::uint64_t{16} << 20, memory.data(), memory.size());
    Garbage garbage(random, file, vm, memory);
    std::array<UniqueFd, 4> controls;
    std::vector<Mapping> mappings;
    while (Clock::now() < end) {
        UniqueFd& control = controls[random() % controls.size()];
        if (!control || random() % 64 == 0)
            control = open_control();
        if (random() % 256 == 0)
            mappings.clear();
        if (random() % 8 == 0) {
            const std::size_t length = (1 + random() % 8) * page_size;
            void* start = ::mmap(nullptr, length, static_cast<int>(random() % 8),
                                 random() % 2 == 0 ? MAP_SHARED : MAP_PRIVATE, control.get(),
                                 static_cast<off_t>(random() % 8 * page_size));
            if (start != MAP_FAILED)
                mappings.emplace_back(start, length);
        }
        // The consumer page, if it is one.
        if (!mappings.empty() && random() % 4 == 0) {
            const std::uint64_t value = garbage.number();
            iovec from{const_cast<std::uint64_t*>(&value), sizeof(value)};
            iovec to{mappings[random() % mappings.size()].data(), sizeof(value)};
            (void)!::process_vm_writev(::getpid(), &from, 1, &to, 1, 0);
        }
        const unsigned long command =
            random() % 16 == 0 ? random() : _IO(GC_IOC_TYPE, random() % 7);
        auto bytes = garbage.argument_bytes();
        (void)::ioctl(control.get(), command, random() % 32 == 0 ? nullptr : bytes.data());
        (void)vm.access(MiniVm::Access::write,
                        (std::uint64_t{16} << 20) + random() % pages * page_size);
        (void)poll_events(control.get());
    }
    return 0;
}

TEST_F(Fuzz, GarbageInEveryArgument) {
    Child abuser([&] { return abuse(seed_, end_); });
    EXPECT_EQ(abuser.wait(
                  std::chrono::duration_cast<std::chrono::milliseconds>(end_ - Clock::now()) + 60s),
              0);
    // It works for others as before.
    const UniqueFd file = memory_file(4);
    Session session = make_session(file, 4);
    const Pages memory = map_node(session.node(), 4);
    EXPECT_EQ(memory.read(2), pattern(2));
    EXPECT_THAT(pages_of(take_ready(session)), testing::ElementsAre(2));
}

}  // namespace
}  // namespace gc::capture::test

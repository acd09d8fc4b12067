// SPDX-License-Identifier: GPL-2.0-or-later
// Garbage in every argument, and in what is shared with the module.
#include "mini_vm.h"
#include "raw_capture.h"
#include "seeded.h"

#include <array>
#include <cstring>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

namespace gc::capture::test {
namespace {

constexpr std::size_t pages = 512;

class Fuzz : public Seeded {};

/// How often something succeeded; shared with a child.
struct Successes {
    std::uint64_t sessions;
    std::uint64_t tracks;
    std::uint64_t rearms;
    std::uint64_t scans;
    std::uint64_t mappings;
    std::uint64_t tails;  // written to a consumer page
};

/// Arguments: right ones, of which now and then a word is spoilt.
class Garbage {
  public:
    Garbage(Random& random, const UniqueFd& file, const MiniVm& vm, const Pages& memory)
        : random_(random), file_(file), vm_(vm), memory_(memory) {}

    std::uint64_t number() {
        switch (random_() % 5) {
        case 0:
            return random_();
        case 1:
            return random_() % 64;
        case 2:
            return random_() % (2 * pages) * page_size;
        case 3:
            return std::uint64_t{1} << random_() % 64;
        default:
            return UINT64_MAX - random_() % 4;
        }
    }

    /// Bytes for a command, with zeros after them.
    std::vector<std::uint32_t> argument_of(unsigned long command) {
        std::vector<std::uint32_t> words(page_size / sizeof(std::uint32_t));
        const auto put = [&](const auto& value) {
            std::memcpy(words.data(), &value, sizeof(value));
            return sizeof(value) / sizeof(std::uint32_t);
        };
        std::size_t used = 2;
        switch (command) {
        case GC_IOC_SESSION_CREATE:
            used = put(session());
            break;
        case GC_IOC_TRACK_CREATE:
            used = put(track());
            break;
        case GC_IOC_REARM:
            used = put(of_pages<gc_rearm>());
            break;
        case GC_IOC_SCAN:
            used = put(of_pages<gc_scan>());
            break;
        case GC_IOC_STATS:
            used = put(argument<gc_stats>());
            break;
        default:
            put(argument<gc_kick>());
        }
        // Half of them are right.
        for (std::uint64_t spoilt = random_() % 2 * (1 + random_() % 2); spoilt > 0; --spoilt) {
            const std::uint64_t value = number();
            const std::size_t at = random_() % used;
            std::memcpy(words.data() + at, &value,
                        at + 1 < used && random_() % 2 == 0 ? sizeof(value) : sizeof(words[0]));
        }
        return words;
    }

  private:
    gc_session_create session() {
        auto arg = argument<gc_session_create>();
        const std::uint64_t first = random_() % pages;
        arg.ring_entries = small_ring << random_() % 4;
        arg.backing_fd = file_.get();
        arg.backing_offset = first * page_size;
        arg.length = (1 + random_() % (pages - first)) * page_size;
        if (random_() % 2 == 0) {
            arg.flags = GC_SESSION_PROCESS;
            arg.backing_fd = -1;
            arg.pid = ::getpid();
            arg.backing_offset += reinterpret_cast<std::uintptr_t>(memory_.data());
        }
        return arg;
    }

    gc_track_create track() {
        auto arg = argument<gc_track_create>();
        arg.kvm_fd = vm_.fd();
        arg.mode = random_() % 2 == 0 ? GC_TRACK_ORDER : GC_TRACK_AGE;
        arg.range_count = static_cast<std::uint32_t>(1 + random_() % ranges_.size());
        arg.ranges = reinterpret_cast<std::uintptr_t>(ranges_.data());
        for (std::size_t i = 0; i < ranges_.size(); ++i)
            ranges_[i] = {reinterpret_cast<std::uintptr_t>(memory_.word(i * (pages / 2))),
                          (1 + random_() % (pages / 2)) * page_size};
        if (random_() % 16 == 0)
            ranges_[0] = {number(), number() % (std::uint64_t{1} << 24)};
        return arg;
    }

    template <typename T> T of_pages() {
        T arg = argument<T>();
        arg.first = random_() % 8;
        arg.count = 1 + random_() % 8;
        return arg;
    }

    Random& random_;
    const UniqueFd& file_;
    const MiniVm& vm_;
    const Pages& memory_;
    std::array<gc_range, 2> ranges_{};
};

/// One control file after the other, and whatever may be done to it.
class Abuser {
  public:
    Abuser(unsigned long seed, Successes& successes) : random_(seed), successes_(successes) {
        vm_.set_slot(1, gpa, memory_.data(), memory_.size());
    }

    void step() {
        UniqueFd& control = controls_[random_() % controls_.size()];
        if (!control || random_() % 32 == 0)
            control = open_control();
        call(control);
        if (random_() % 8 == 0)
            map(control);
        write_tail();
        if (random_() % 64 == 0)
            mappings_.clear();
        (void)vm_.access(MiniVm::Access::write, gpa + random_() % pages * page_size);
        (void)poll_events(control.get());
    }

  private:
    static constexpr std::uint64_t gpa = std::uint64_t{16} << 20;

    void call(const UniqueFd& control) {
        constexpr std::array commands{GC_IOC_SESSION_CREATE, GC_IOC_TRACK_CREATE, GC_IOC_REARM,
                                      GC_IOC_KICK,           GC_IOC_STATS,        GC_IOC_SCAN};
        const unsigned long command =
            random_() % 32 == 0 ? random_() : commands[random_() % commands.size()];
        auto words = garbage_.argument_of(command);
        if (::ioctl(control.get(), command, random_() % 64 == 0 ? nullptr : words.data()) != 0)
            return;
        if (command == GC_IOC_SESSION_CREATE) {
            ++successes_.sessions;
            ::close(
                static_cast<int>(words[offsetof(gc_session_create, node_fd) / sizeof(words[0])]));
        }
        successes_.tracks += command == GC_IOC_TRACK_CREATE ? 1 : 0;
        successes_.rearms += command == GC_IOC_REARM ? 1 : 0;
        successes_.scans += command == GC_IOC_SCAN ? 1 : 0;
    }

    void map(const UniqueFd& control) {
        const bool consumer = random_() % 2 == 0;
        const std::size_t length = consumer ? page_size : (1 + random_() % 8) * page_size;
        const int prot = consumer ? PROT_READ | PROT_WRITE : static_cast<int>(random_() % 8);
        void* start =
            ::mmap(nullptr, length, prot, random_() % 8 != 0 ? MAP_SHARED : MAP_PRIVATE,
                   control.get(), consumer ? 0 : static_cast<off_t>(random_() % 8 * page_size));
        if (start == MAP_FAILED)
            return;
        ++successes_.mappings;
        mappings_.emplace_back(start, length);
    }

    /// To the consumer page, if it is one: a fault in the kernel is none of ours.
    void write_tail() {
        if (mappings_.empty())
            return;
        std::uint64_t value = random_() % 2 == 0 ? garbage_.number() : random_() % 64;
        iovec from{&value, sizeof(value)};
        iovec to{mappings_[random_() % mappings_.size()].data(), sizeof(value)};
        if (::process_vm_writev(::getpid(), &from, 1, &to, 1, 0) == sizeof(value))
            ++successes_.tails;
    }

    Random random_;
    Successes& successes_;
    UniqueFd file_ = memory_file(pages);
    Pages memory_{-1, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS};
    MiniVm vm_;
    Garbage garbage_{random_, file_, vm_, memory_};
    std::array<UniqueFd, 4> controls_;
    std::vector<Mapping> mappings_;
};

TEST_F(Fuzz, GarbageInEveryArgument) {
    const Pages shared(-1, 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    auto& successes = *reinterpret_cast<Successes*>(shared.word(0));
    Child child([&] {
        Abuser abuser(seed_, successes);
        while (time_left())
            abuser.step();
        return 0;
    });
    EXPECT_EQ(child.wait(std::chrono::ceil<std::chrono::milliseconds>(end_ - Clock::now()) + 60s),
              0);
    // Garbage that never gets anywhere shows nothing.
    EXPECT_GT(successes.sessions, 0U);
    EXPECT_GT(successes.tracks, 0U);
    EXPECT_GT(successes.rearms, 0U);
    EXPECT_GT(successes.scans, 0U);
    EXPECT_GT(successes.mappings, 0U);
    EXPECT_GT(successes.tails, 0U);
    std::cout << successes.sessions << " sessions, " << successes.tracks << " tracks, "
              << successes.rearms << " re-arms, " << successes.scans << " scans, "
              << successes.mappings << " mappings, " << successes.tails << " tails" << std::endl;
    // It works for others as before.
    const UniqueFd file = memory_file(4);
    Session session = make_session(file, 4);
    const Pages memory = map_node(session.node(), 4);
    EXPECT_EQ(memory.read(2), pattern(2));
    EXPECT_THAT(pages_of(take_ready(session)), testing::ElementsAre(2));
}

}  // namespace
}  // namespace gc::capture::test

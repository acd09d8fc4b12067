// SPDX-License-Identifier: GPL-2.0-or-later
// The cost for a VM of being a guide, and of being tracked.
//
// A vCPU touches page after page of memory that the host has allocated and KVM has not mapped yet,
// once with reads and once with writes. Its memory is, in turn:
//
//   untracked  a fresh private mapping of a shmem file: each touch is a fault of KVM and one of the
//              host, with fault-around off
//   guide      a private mapping of a memory node over that file, with a thread that reads its ring
//   resident   memory that the host has mapped as well; KVM's mappings are gone, as after a memslot
//              is recreated: each touch is a fault of KVM only
//   order      like resident, but armed by a track in mode order
//   age        like resident, with a track in mode age
//
// Compare guide with untracked, and order and age with resident. Also measured, with a VM that has
// mapped all of its memory: the time to arm in mode order, and to scan in mode age.
#include "bench.h"
#include "mini_vm.h"
#include "raw_capture.h"

#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <map>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <thread>

namespace gc::capture::test {
namespace {

using namespace bench;
using Clock = std::chrono::steady_clock;
using nlohmann::json;
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr std::uint64_t ram_gpa = std::uint64_t{16} << 20;

class Bench {
  public:
    explicit Bench(const Options& options)
        : pages_((options.mib << 20) / page_size), file_(memory_file(pages_)),
          resident_(-1, pages_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS) {
        // Each touch must be of a small page.
        ::madvise(resident_.data(), resident_.size(), MADV_NOHUGEPAGE);
        for (std::size_t page = 0; page < pages_; ++page)
            resident_.write(page, page);
    }

    double touch_untracked(MiniVm::Access kind) {
        const auto off = NoFaultAround::set();
        if (!off)
            throw std::runtime_error(off.error().message);
        const Pages memory(file_.get(), pages_);
        return sweep(kind, memory);
    }

    double touch_guide(MiniVm::Access kind) {
        Session session = make_session(file_, pages_);
        const Pages memory = map_node(session.node(), pages_);
        std::size_t seen = 0;
        double took = 0;
        {
            // Ends by itself when each page has been touched.
            const std::jthread consumer(
                [&] { seen = take(session, pages_, std::chrono::minutes(5)).size(); });
            took = sweep(kind, memory);
        }
        expect("records", seen, pages_);
        return took;
    }

    double touch_resident(MiniVm::Access kind) { return sweep(kind, resident_); }

    double touch_tracked(MiniVm::Access kind, gc_track_mode mode) {
        const MiniVm vm = vm_over(resident_);
        RawCapture capture;
        expect("errno of the track",
               static_cast<std::uint64_t>(capture.create(track(vm, mode), range())), 0);
        const double took = run(vm, kind);
        if (mode == GC_TRACK_ORDER)
            expect("records", capture.take().size(), pages_);
        else
            expect("young pages", scan(capture).young, pages_);
        return took;
    }

    /// Rows with the milliseconds per GiB to arm and to scan what the VM has mapped.
    std::map<std::string, double> operate() {
        const MiniVm vm = vm_over(resident_);
        RawCapture order;
        RawCapture age;
        order.create(track(vm, GC_TRACK_ORDER), range());
        age.create(track(vm, GC_TRACK_AGE), range());
        std::map<std::string, double> took;
        const auto timed = [&](const char* what, const auto& operation) {
            (void)run(vm, MiniVm::Access::write);
            const auto begin = Clock::now();
            operation();
            const Milliseconds elapsed = Clock::now() - begin;
            took[what] = elapsed.count() * static_cast<double>(std::size_t{1} << 30) /
                         static_cast<double>(resident_.size());
            (void)order.take();
            (void)age.take();
        };
        timed("arm by order",
              [&] { expect("errno", static_cast<std::uint64_t>(order.rearm(0, pages_)), 0); });
        timed("scan by age, all young", [&] { expect("young pages", scan(age).young, pages_); });
        const auto begin = Clock::now();
        expect("young pages", scan(age).young, 0);
        took["scan by age, none young"] = Milliseconds(Clock::now() - begin).count() *
                                          static_cast<double>(std::size_t{1} << 30) /
                                          static_cast<double>(resident_.size());
        return took;
    }

  private:
    static void expect(const char* what, std::uint64_t got, std::uint64_t wanted) {
        if (got != wanted)
            throw std::runtime_error(fmt::format("expected {} {}, got {}", wanted, what, got));
    }

    static MiniVm vm_over(const Pages& memory) {
        MiniVm vm;
        vm.set_slot(1, ram_gpa, memory.data(), memory.size());
        return vm;
    }

    /// Nanoseconds per page.
    double run(const MiniVm& vm, MiniVm::Access kind) const {
        const auto begin = Clock::now();
        if (!vm.sweep(kind, ram_gpa, pages_))
            throw std::runtime_error("the vCPU did not run");
        const std::chrono::duration<double, std::nano> took = Clock::now() - begin;
        return took.count() / static_cast<double>(pages_);
    }

    double sweep(MiniVm::Access kind, const Pages& memory) const {
        return run(vm_over(memory), kind);
    }

    static gc_track_create track(const MiniVm& vm, gc_track_mode mode) {
        auto arg = argument<gc_track_create>();
        arg.kvm_fd = vm.fd();
        arg.mode = mode;
        return arg;
    }

    std::vector<gc_range> range() const {
        return {{.address = reinterpret_cast<std::uintptr_t>(resident_.data()),
                 .length = resident_.size()}};
    }

    gc_scan scan(const RawCapture& capture) const {
        auto arg = argument<gc_scan>();
        arg.count = pages_;
        expect("errno of the scan", static_cast<std::uint64_t>(capture.scan(arg)), 0);
        return arg;
    }

    std::size_t pages_;
    UniqueFd file_;
    Pages resident_;
};

using Mode = std::pair<const char*, std::function<double(Bench&, MiniVm::Access)>>;

const std::vector<Mode>& modes() {
    using enum gc_track_mode;
    static const std::vector<Mode> all{
        {"untracked", [](Bench& b, MiniVm::Access kind) { return b.touch_untracked(kind); }},
        {"guide", [](Bench& b, MiniVm::Access kind) { return b.touch_guide(kind); }},
        {"resident", [](Bench& b, MiniVm::Access kind) { return b.touch_resident(kind); }},
        {"order",
         [](Bench& b, MiniVm::Access kind) { return b.touch_tracked(kind, GC_TRACK_ORDER); }},
        {"age", [](Bench& b, MiniVm::Access kind) { return b.touch_tracked(kind, GC_TRACK_AGE); }},
    };
    return all;
}

const char* reference_of(const std::string& mode) {
    return mode == "untracked" || mode == "guide" ? "untracked" : "resident";
}

json touches(Bench& bench, const char* workload, MiniVm::Access kind, std::size_t repeats) {
    std::map<std::string, std::vector<double>> times;
    for (std::size_t repeat = 0; repeat <= repeats; ++repeat)
        for (const auto& [mode, touch] : modes()) {
            const double ns = touch(bench, kind);
            std::fprintf(stderr, "%s %s %zu: %.0f ns per page\n", workload, mode, repeat, ns);
            if (repeat != 0)  // warms caches and the allocator
                times[mode].push_back(ns);
        }
    json rows = json::array();
    for (const auto& [mode, touch] : modes())
        rows.push_back(row(workload, mode, "first_touch", "ns/page", times[mode],
                           median(times[reference_of(mode)])));
    return rows;
}

json operations(Bench& bench, std::size_t repeats) {
    std::map<std::string, std::vector<double>> times;
    for (std::size_t repeat = 0; repeat < repeats; ++repeat)
        for (const auto& [what, took] : bench.operate())
            times[what].push_back(took);
    json rows = json::array();
    for (const auto& [what, values] : times)
        rows.push_back(row("mapped", what, "duration", "ms/GiB", values, 0));
    return rows;
}

Result<json> run(const Options& options) {
    try {
        Bench bench(options);
        json rows = touches(bench, "read", MiniVm::Access::read, options.repeats);
        for (const json& part : {touches(bench, "write", MiniVm::Access::write, options.repeats),
                                 operations(bench, options.repeats)})
            rows.insert(rows.end(), part.begin(), part.end());
        return json{{"bench", "track"}, {"machine", machine()}, {"rows", rows}};
    } catch (const std::exception& error) {
        return fail(ErrorKind::io, "{}", error.what());
    }
}

}  // namespace
}  // namespace gc::capture::test

int main(int argc, char** argv) {
    return gc::bench::run(argc, argv, "track_bench", gc::capture::test::run);
}

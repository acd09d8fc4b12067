// SPDX-License-Identifier: GPL-2.0-or-later
// A guide whose vCPUs use KVM's asynchronous page faults: a worker of the system's workqueue takes
// the page. It must not wait in it for room in the ring, since the queue is everybody's.
#include "mini_vm.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <set>
#include <sstream>
#include <thread>
#include <unistd.h>

namespace gc::capture::test {
namespace {

constexpr unsigned vcpus = 4;
constexpr std::size_t pages_of_vcpu = 2 * small_ring;
constexpr std::size_t pages = vcpus * pages_of_vcpu;
constexpr std::uint64_t gpa = std::uint64_t{16} << 20;

std::string text_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

/// The names of the tasks that wait for room in the ring, of all processes and of the kernel.
std::vector<std::string> waiting_tasks() {
    std::vector<std::string> names;
    for (const auto& process : std::filesystem::directory_iterator("/proc")) {
        const std::string pid = process.path().filename();
        if (pid.find_first_not_of("0123456789") != std::string::npos)
            continue;
        std::error_code gone;
        for (const auto& task : std::filesystem::directory_iterator(process.path() / "task", gone))
            if (text_of(task.path() / "stack").find("gc_session_wait") != std::string::npos)
                names.push_back(text_of(task.path() / "comm"));
    }
    return names;
}

class AsyncPageFault : public testing::Test {
  protected:
    /// Each vCPU touches pages of its own, in order, and then halts for ever.
    int run_guide() const {
        const Pages memory = map_node(session_.node(), pages);
        const MiniVm vm(vcpus, MiniVm::Paging::off, MiniVm::Irqchip::in_kernel);
        vm.set_slot(1, gpa, memory.data(), memory.size());
        std::vector<std::jthread> threads;
        for (unsigned vcpu = 0; vcpu < vcpus; ++vcpu)
            threads.emplace_back([&vm, vcpu] {
                (void)vm.sweep(MiniVm::Access::read, gpa + vcpu * pages_of_vcpu * page_size,
                               pages_of_vcpu, vcpu);
            });
        return 0;
    }

    void expect_no_worker_waits() const {
        for (const std::string& name : waiting_tasks())
            EXPECT_FALSE(name.starts_with("kworker")) << name;
    }

    UniqueFd file_ = memory_file(pages);
    Session session_ = make_session(file_, pages, small_ring);
};

TEST_F(AsyncPageFault, NoWorkerWaitsForTheConsumer) {
    Child guide([&] { return run_guide(); });
    // The vCPUs wait in their own threads.
    ASSERT_TRUE(eventually([&] { return session_.stats().value().waiting == vcpus; }))
        << session_.stats().value().waiting;
    EXPECT_EQ(session_.stats().value().records, small_ring);
    EXPECT_EQ(session_.stats().value().spilled, 0U) << "the guide ran ahead of the consumer";
    EXPECT_EQ(waiting_tasks().size(), vcpus);
    expect_no_worker_waits();

    // It goes on as the consumer reads, and misses no page.
    std::set<std::uint64_t> seen;
    while (seen.size() < pages) {
        const std::vector<Record> some = take(session_, 16, 5s);
        ASSERT_FALSE(some.empty()) << seen.size() << " pages were seen";
        for (const Record& record : some)
            EXPECT_TRUE(seen.insert(record.page).second) << record.page;
        expect_no_worker_waits();
    }
    EXPECT_EQ(session_.stats().value().spilled, 0U);
}

/// A worker that waits has a reference to the guide's memory, and cannot be killed.
TEST_F(AsyncPageFault, KilledGuideIsGoneWhileTheRingIsFull) {
    Child guide([&] { return run_guide(); });
    ASSERT_TRUE(eventually([&] { return session_.stats().value().waiting >= vcpus; }));
    guide.signal(SIGKILL);
    EXPECT_EQ(guide.wait(5s), 128 + SIGKILL);
    EXPECT_TRUE(eventually([&] { return session_.stats().value().mappings == 0; }, 5s));
    EXPECT_EQ(session_.stats().value().waiting, 0U);
    EXPECT_NE(poll_events(session_.fd()) & POLLHUP, 0);
}

}  // namespace
}  // namespace gc::capture::test

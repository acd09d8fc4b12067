// SPDX-License-Identifier: GPL-2.0-or-later
// The cost of a session for the thread that touches memory for the first time.
//
// A private mapping of a fully allocated shmem file is touched page by page, in order, once with
// reads and once with writes. The mapping is, in turn:
//
//   plain         a mapping of the file itself with fault-around off, so that both sides take
//                 exactly one fault for each page: the ratio is the cost of capture alone
//   session       a mapping of a memory node, while a second thread reads the ring
//   fault-around  a mapping of the file itself with the kernel's default (16 pages for each read
//                 fault): shows the additional cost of a session's having to see every page
//
// Creating and removing mapping and session is not timed. Writes never use fault-around.
#include "bench.h"
#include "capture/session.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <map>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace gc::capture {
namespace {

using namespace bench;
using Clock = std::chrono::steady_clock;
using nlohmann::json;

/// Nanoseconds per page of touching all of a mapping.
double touch(const Mapping& memory, bool write) {
    const auto begin = Clock::now();
    for (std::size_t at = 0; at < memory.size(); at += page_size) {
        auto* byte = reinterpret_cast<volatile unsigned char*>(memory.data() + at);
        if (write)
            *byte = 1;
        else
            (void)*byte;
    }
    const std::chrono::duration<double, std::nano> took = Clock::now() - begin;
    return took.count() / static_cast<double>(memory.size() / page_size);
}

/// A thread that reads the ring.
class Consumer {
  public:
    explicit Consumer(Session& session) : session_(session), thread_([this] { run(); }) {}

    /// Reads the rest of the ring. @return the number of records read
    std::size_t finish() {
        stop_ = true;
        thread_.join();
        return count_;
    }

  private:
    void run() {
        std::vector<Record> records(4096);
        for (;;) {
            const bool last = stop_;
            // Read once for each poll(), which reports many records together. Reading again at once
            // would spin, one record at a time.
            const std::size_t got = session_.read(records).value_or(0);
            count_ += got;
            if (got == records.size())
                continue;
            if (last)
                return;
            pollfd entry{.fd = session_.fd(), .events = POLLIN, .revents = 0};
            ::poll(&entry, 1, 20);
        }
    }

    Session& session_;
    std::size_t count_ = 0;
    std::atomic<bool> stop_ = false;
    std::jthread thread_;
};

struct Sample {
    double ns_per_page;
    std::uint64_t blocked;
};

Result<Sample> run_plain(int file, std::size_t size, bool write) {
    GC_TRY(const Mapping memory,
           Mapping::map(file, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0, "the file"));
    return Sample{touch(memory, write), 0};
}

Result<Sample> run_session(int file, std::size_t size, bool write) {
    GC_TRY(Session session, Session::create(file, 0, size));
    GC_TRY(const Mapping memory, Mapping::map(session.node(), size, PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE, 0, "the memory node"));
    Consumer consumer(session);
    const double ns_per_page = touch(memory, write);
    const std::size_t count = consumer.finish();
    if (count != size / page_size)
        return fail(ErrorKind::protocol, "expected {} records, got {}", size / page_size, count);
    GC_TRY(const Stats stats, session.stats());
    return Sample{ns_per_page, stats.blocked};
}

Result<Sample> run_mode(const std::string& mode, int file, std::size_t size, bool write) {
    if (mode == "session")
        return run_session(file, size, write);
    if (mode == "fault-around")
        return run_plain(file, size, write);
    GC_TRY(const NoFaultAround off, NoFaultAround::set());
    return run_plain(file, size, write);
}

/// All rows of one workload.
Result<json> run_workload(const std::string& workload, int file, const Options& options) {
    const bool write = workload == "write";
    const std::vector<std::string> modes{"plain", "session", "fault-around"};
    std::map<std::string, std::vector<double>> times;
    std::vector<double> blocked;
    for (std::size_t repeat = 0; repeat <= options.repeats; ++repeat)
        for (const std::string& mode : modes) {
            GC_TRY(const Sample sample, run_mode(mode, file, options.mib << 20, write));
            std::fprintf(stderr, "%s %s %zu: %.0f ns per page, blocked %lu times\n",
                         workload.c_str(), mode.c_str(), repeat, sample.ns_per_page,
                         static_cast<unsigned long>(sample.blocked));
            if (repeat == 0)
                continue;  // warms caches and the allocator
            times[mode].push_back(sample.ns_per_page);
            if (mode == "session")
                blocked.push_back(static_cast<double>(sample.blocked));
        }
    json rows = json::array();
    for (const std::string& mode : modes)
        rows.push_back(
            row(workload, mode, "first_touch", "ns/page", times[mode], median(times["plain"])));
    rows.push_back(row(workload, "session", "blocked", "count", blocked, 0));
    return rows;
}

Result<json> run(const Options& options) {
    const std::size_t size = options.mib << 20;
    const UniqueFd file(::memfd_create("guidecopy-bench", MFD_CLOEXEC));
    if (!file || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0)
        return fail_errno(errno, "memfd");
    {
        GC_TRY(const Mapping source,
               Mapping::map(file.get(), size, PROT_READ | PROT_WRITE, MAP_SHARED, 0, "the file"));
        touch(source, true);
    }
    json rows = json::array();
    for (const char* workload : {"read", "write"}) {
        GC_TRY(const json part, run_workload(workload, file.get(), options));
        rows.insert(rows.end(), part.begin(), part.end());
    }
    return json{
        {"bench", "capture"}, {"reference", "plain"}, {"machine", machine()}, {"rows", rows}};
}

}  // namespace
}  // namespace gc::capture

int main(int argc, char** argv) {
    return gc::bench::run(argc, argv, "capture_bench", gc::capture::run);
}

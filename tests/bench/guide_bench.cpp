// SPDX-License-Identifier: GPL-2.0-or-later
// What a first touch costs a guide, by the module and by userfaultfd.
//
// The memory guest chases a pointer through all of its pages, in random order and with no work for
// each. It is stopped, and a guide of it is loaded and runs alone: nothing is sent, and its lead is
// not limited. The time from one record to the next is what a touch costs. The module is left out
// where it is not loaded.
#include "bench.h"
#include "guide/guide.h"
#include "qmp/migration.h"
#include "qmp/ram_blocks.h"
#include "source_vm.h"
#include "util/poll.h"
#include "util/whole_file.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <poll.h>
#include <thread>
#include <unistd.h>

namespace gc::bench {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;

constexpr auto boot_timeout = 60s;
constexpr auto lap_timeout = 60s;
/// Touches of the kernel's start, of the load and of the end of the lap are left out.
constexpr double margin = 0.05;

/// Nothing has been sent, and ROMs are zeros: the memory guest does not look at them.
class NothingSent final : public capture::PageOrigin {
  public:
    [[nodiscard]] bool delivered(std::size_t, std::uint64_t) const override { return false; }
    void touched(std::size_t, std::uint64_t) override {}
    Result<Found> find(std::size_t, std::uint64_t, std::span<std::byte>) override {
        return Found::zero;
    }
};

class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        char name[] = "/dev/shm/gc-guide-bench-XXXXXX";
        path_ = ::mkdtemp(name);
    }
    ~TemporaryDirectory() { fs::remove_all(path_); }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    [[nodiscard]] const fs::path& path() const { return path_; }

  private:
    fs::path path_;
};

/// The memory guest, which chases through `mib` MiB.
struct Chase {
    Child process;
    qmp::Client qmp;
    stream::GuideState state;

    static Result<Chase> start(const fs::path& directory, std::size_t mib);
    Result<void> stop_and_save(const fs::path& file);
    Result<std::vector<image::ImageBlock>> memory();
};

Result<Chase> Chase::start(const fs::path& directory, std::size_t mib) {
    const std::string socket = directory / "qmp";
    const fs::path console = directory / "console";
    const std::string accel = fs::exists("/dev/kvm") && ::access("/dev/kvm", R_OK | W_OK) == 0 &&
                                      std::getenv("GC_LAB") != nullptr
                                  ? "kvm"
                                  : "tcg";
    GC_TRY(Child process,
           Child::spawn({"qemu-system-x86_64",
                         "-nodefaults",
                         "-display",
                         "none",
                         "-accel",
                         accel,
                         "-m",
                         fmt::format("{}", mib + 128),
                         "-object",
                         fmt::format("memory-backend-memfd,id=m,size={}M,share=on", mib + 128),
                         "-machine",
                         "q35,memory-backend=m",
                         "-kernel",
                         GC_GUEST,
                         "-append",
                         fmt::format("mode=chase size={}M", mib),
                         "-serial",
                         "file:" + console.string(),
                         "-qmp",
                         "unix:" + socket + ",server=on,wait=off"},
                        directory / "qemu.log"));
    for (const Deadline deadline(10s); !fs::exists(socket) && !deadline.expired();)
        std::this_thread::sleep_for(10ms);
    GC_TRY(qmp::Client qmp, qmp::Client::connect(socket));
    for (const Deadline deadline(boot_timeout);;) {
        const auto text = read_whole_file(console);
        if (text && text->find("LAP ") != std::string::npos)
            break;
        if (deadline.expired())
            return fail(ErrorKind::io, "the guest did not begin within {} s", boot_timeout.count());
        std::this_thread::sleep_for(50ms);
    }
    return Chase{std::move(process), std::move(qmp), {}};
}

/// Without a migration, after which a VM that is stopped stays so: the state is saved to a file as
/// header, device sections, end.
Result<void> Chase::stop_and_save(const fs::path& file) {
    GC_CHECK(qmp::stop(qmp));
    GC_CHECK(qmp.execute("xen-save-devices-state", {{"filename", file.string()}, {"live", false}}));
    GC_TRY(const std::string saved, read_whole_file(file));
    constexpr std::size_t header = 8;
    if (saved.size() < header + 2)
        return fail(ErrorKind::protocol, "no device state in {}", file.string());
    stream::append_header(state.preamble);
    // QEMU compares the beginning of its machine's name.
    stream::append_configuration(state.preamble, "pc-q35", {});
    const auto bytes = std::as_bytes(std::span(saved)).subspan(header);
    state.devices.assign(bytes.begin(), bytes.end() - 1);
    state.ram_section = 2;
    GC_TRY(const auto blocks, qmp::ram_blocks(qmp, process.pid()));
    for (const qmp::RamBlock& block : blocks)
        state.blocks.push_back({block.name, block.length});
    return {};
}

Result<std::vector<image::ImageBlock>> Chase::memory() {
    GC_TRY(auto blocks, qmp::ram_blocks(qmp, process.pid()));
    std::vector<image::ImageBlock> memory;
    for (qmp::RamBlock& block : blocks)
        if (block.is_guest_ram())
            memory.push_back({.name = block.name,
                              .backend = block.backend,
                              .length = block.length,
                              .file = std::move(block.file),
                              .offset = block.file_offset,
                              .memory = {}});
    return memory;
}

/// The times of `count` records.
Result<std::vector<std::uint64_t>> record_times(guide::Guide& guide, std::size_t count) {
    std::vector<std::uint64_t> times;
    const std::vector<capture::BlockRecords> feeds = guide.feeds();
    std::array<capture::Record, 256> records;
    for (const Deadline deadline(lap_timeout); times.size() < count;) {
        if (const auto end = guide.check())
            return fail(ErrorKind::io, "the guide ended: {}", end->reason);
        if (deadline.expired())
            return fail(ErrorKind::io, "{} of {} touches within {} s", times.size(), count,
                        lap_timeout.count());
        (void)wait_readable(feeds[0].source->fd(), 100ms);
        GC_TRY(const std::size_t got, feeds[0].source->read(records));
        for (std::size_t i = 0; i < got; ++i)
            times.push_back(records[i].time_ns);
    }
    return times;
}

struct Sample {
    double median_us;
    double p99_us;
    double mean_us;
};

Result<Sample> measure(Chase& chase, const guide::ChosenCapture& capture, std::size_t pages) {
    GC_TRY(auto memory, chase.memory());
    GC_TRY(auto guide,
           guide::Guide::prepare(chase.qmp, chase.process.pid(), std::move(memory),
                                 {.lead = static_cast<std::uint32_t>(2 * pages)}, capture));
    NothingSent origin;
    guide->load(chase.state, origin);
    const auto times = record_times(*guide, pages);
    guide->stop();
    if (!times)
        return Unexpected(times.error());
    const auto skipped = static_cast<std::size_t>(margin * static_cast<double>(pages));
    std::vector<double> gaps;
    for (std::size_t i = skipped; i < times->size() - skipped; ++i)
        gaps.push_back(static_cast<double>((*times)[i] - (*times)[i - 1]) / 1000);
    double sum = 0;
    for (const double gap : gaps)
        sum += gap;
    std::ranges::sort(gaps);
    return Sample{gaps[gaps.size() / 2], gaps[gaps.size() * 99 / 100],
                  sum / static_cast<double>(gaps.size())};
}

Result<json> run_all(const Options& options) {
    const TemporaryDirectory directory;
    GC_TRY(Chase chase, Chase::start(directory.path(), options.mib));
    GC_CHECK(chase.stop_and_save(directory.path() / "state"));
    std::vector<guide::ChosenCapture> captures;
    if (const auto module = guide::choose_capture(guide::CaptureWish::kmod))
        captures.push_back(*module);
    captures.push_back({report::Capture::userfault, ""});
    json rows = json::array();
    const std::size_t pages = options.mib * 256;
    std::map<std::string, std::array<std::vector<double>, 3>> figures;
    for (std::size_t repeat = 0; repeat < options.repeats; ++repeat)
        for (const guide::ChosenCapture& capture : captures) {
            GC_TRY(const Sample sample, measure(chase, capture, pages));
            const std::string how(report::name(capture.how));
            std::fprintf(stderr, "%s %zu: median %.1f us, p99 %.1f us, mean %.1f us\n", how.c_str(),
                         repeat, sample.median_us, sample.p99_us, sample.mean_us);
            figures[how][0].push_back(sample.median_us);
            figures[how][1].push_back(sample.p99_us);
            figures[how][2].push_back(sample.mean_us);
        }
    constexpr std::array<const char*, 3> metrics{"median", "p99", "mean"};
    for (const auto& [how, values] : figures)
        for (std::size_t i = 0; i < metrics.size(); ++i)
            rows.push_back(row("chase", how, metrics[i], "us/touch", values[i], 0));
    return json{{"bench", "guide"}, {"machine", machine()}, {"rows", rows}};
}

}  // namespace
}  // namespace gc::bench

int main(int argc, char** argv) {
    return gc::bench::run(argc, argv, "guide_bench", gc::bench::run_all);
}

// SPDX-License-Identifier: GPL-2.0-or-later
// Compares gcctl's data path with QEMU's own on this machine's loopback: the latency of a requested
// page, with and without other pages in flight; the throughput of pre-copy and of the background;
// and their cost. QEMU and gcctl are real; only the destination is synthetic.
#include "bench.h"
#include "source_vm.h"
#include "synthetic_destination.h"

#include "qmp/migration.h"
#include "util/hex.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

namespace gc::bench {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr auto phase_timeout = 20s;
constexpr auto outage_time = 2s;
constexpr std::size_t requests = 2000;
/// QEMU cannot hold the background, and a requested page that is already in its buffer for the main
/// channel is not sent urgently. This rate, in bytes per second, empties that buffer within
/// milliseconds.
constexpr std::int64_t qemu_idle_rate = 16 << 20;
constexpr const char* ram_block = "ram";

enum class Workload {
    idle,     ///< requested pages only
    busy,     ///< requested pages and the background at full speed
    push,     ///< the background only
    precopy,  ///< pre-copy only
    outage,   ///< as push, with all connections broken for a while
};

constexpr std::array<std::pair<Workload, const char*>, 5> workloads{
    {{Workload::idle, "request-idle"},
     {Workload::busy, "request-busy"},
     {Workload::push, "push"},
     {Workload::precopy, "pre-copy"},
     {Workload::outage, "outage"}}};

struct Mode {
    const char* name;
    Sender sender;
    const char* option = nullptr;  ///< an additional option of gcctl
    bool tls = false;              ///< TLS 1.3 with a pre-shared key
    const char* reference = "qemu-postcopy-preempt";
};
constexpr std::array<Mode, 5> modes{
    {{"qemu-postcopy-preempt", Sender::qemu},
     {"gcctl", Sender::gcctl},
     {"gcctl --kill-source", Sender::gcctl, "--kill-source"},
     {"qemu-postcopy-preempt TLS", Sender::qemu, nullptr, true},
     {"gcctl TLS", Sender::gcctl, nullptr, true, "qemu-postcopy-preempt TLS"}}};

/// (workload, mode, metric) -> unit and one value for each run.
struct Series {
    const char* unit = "";
    std::vector<double> values;
};
using Figures = std::map<std::tuple<std::string, std::string, std::string>, Series>;

double seconds(Clock::duration duration) {
    return std::chrono::duration<double>(duration).count();
}

/// A temporary directory in memory, removed with its content.
class ScratchDirectory {
  public:
    static Result<ScratchDirectory> make() {
        std::string path = "/dev/shm/guidecopy-bench-XXXXXX";
        if (::mkdtemp(path.data()) == nullptr)
            return fail_errno(errno, "make a directory in /dev/shm");
        return ScratchDirectory(path);
    }
    ScratchDirectory(ScratchDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    ScratchDirectory& operator=(ScratchDirectory&&) = delete;
    ~ScratchDirectory() {
        std::error_code ignored;
        if (!path_.empty())
            std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  private:
    explicit ScratchDirectory(std::filesystem::path path) : path_(std::move(path)) {}
    std::filesystem::path path_;
};

/// The end of a program's output, for an error message.
std::string last_words(const std::filesystem::path& log) {
    std::ifstream file(log);
    return std::string(std::istreambuf_iterator<char>(file), {});
}

/// Writes a key as psktool(1) does, and loads it as a server.
Result<tls::Credentials> make_key(const std::filesystem::path& path) {
    GC_TRY(const tls::Key key, tls::random_key());
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    const std::string line = "qemu:" + hex(key) + "\n";
    GC_CHECK(write_all(file.get(), std::as_bytes(std::span(line))));
    tls::Options options;
    options.psk_file = path;
    return tls::Credentials::load(options, tls::Role::server);
}

/// Starts the migration at the source QEMU or with gcctl.
Result<std::optional<Child>> begin(const Mode& mode, Workload workload, SourceVm& vm,
                                   std::uint16_t port, const std::filesystem::path& directory) {
    const std::string to = fmt::format("127.0.0.1:{}", port);
    const bool precopy = workload == Workload::precopy;
    if (mode.sender == Sender::gcctl) {
        std::vector<std::string> argv{GC_GCCTL, "migrate", "--qmp",       vm.qmp_path(),
                                      "--to",   to,        "--guide=off", "--quiet"};
        if (precopy)
            argv.insert(argv.end(), {"--precopy-time", "60min"});
        if (workload == Workload::idle)
            argv.insert(argv.end(), {"--hold-background", "60min", "--next-pages", "0"});
        if (mode.option != nullptr)
            argv.emplace_back(mode.option);
        if (mode.tls)
            argv.insert(argv.end(), {"--tls-psk", directory / "keys.psk"});
        GC_TRY(Child child, Child::spawn(std::move(argv), directory / "gcctl.log"));
        return child;
    }
    if (!precopy)
        GC_CHECK(
            qmp::set_capabilities(vm.qmp(), {{"postcopy-ram", true}, {"postcopy-preempt", true}}));
    GC_CHECK(qmp::set_parameters(
        vm.qmp(), {{"max-bandwidth", std::int64_t{1} << 40},
                   {"max-postcopy-bandwidth", workload == Workload::idle ? qemu_idle_rate : 0},
                   {"downtime-limit", 1}}));
    if (mode.tls) {
        GC_CHECK(vm.qmp().execute("object-add", {{"qom-type", "tls-creds-psk"},
                                                 {"id", "tls"},
                                                 {"dir", directory.string()},
                                                 {"endpoint", "client"},
                                                 {"username", "qemu"}}));
        GC_CHECK(vm.qmp().execute("migrate-set-parameters", {{"tls-creds", "tls"}}));
    }
    GC_CHECK(vm.qmp().execute("migrate", {{"uri", "tcp:" + to}}));
    if (!precopy)
        GC_CHECK(qmp::migrate_start_postcopy(vm.qmp()));
    return std::nullopt;
}

/// Requests random pages, one at a time, until there are enough requests or nearly all have
/// arrived.
Result<std::vector<double>> ask(SyntheticDestination& destination, std::uint64_t pages) {
    std::vector<double> latencies;
    std::mt19937_64 random(7);
    while (latencies.size() < requests && destination.pages() < pages / 10 * 9) {
        const std::uint64_t page = random() % pages;
        if (destination.has(page))
            continue;
        GC_TRY(const Clock::duration took, destination.fetch(page));
        if (took > Clock::duration::zero())
            latencies.push_back(seconds(took) * 1e6);
    }
    std::ranges::sort(latencies);
    return latencies;
}

/// Whether to measure a workload in a mode.
bool is_of_interest(const Mode& mode, Workload workload) {
    // A migration of QEMU's ends with its connection, or waits for somebody to resume it.
    if (workload == Workload::outage)
        return mode.sender == Sender::gcctl && mode.option == nullptr;
    // An option that affects the end is measured only where the end is measured.
    return mode.option == nullptr || workload == Workload::push;
}

/// Breaks the connections during the push. @param note takes a metric, its unit and its value
template <typename Note>
Result<void> measure_outage(SyntheticDestination& destination, const Child& gcctl,
                            std::uint64_t pages, Note note) {
    const auto deadline = Clock::now() + phase_timeout;
    while (destination.pages() < pages / 8 && Clock::now() < deadline)
        std::this_thread::sleep_for(1ms);
    if (destination.pages() == pages)
        return fail(ErrorKind::io, "all pages arrived before the outage; use more memory");
    destination.cut();
    std::uint64_t memory = 0;
    for (const auto end = Clock::now() + outage_time; Clock::now() < end;
         std::this_thread::sleep_for(10ms))
        memory = std::max(memory, gcctl.anonymous_bytes());
    GC_TRY(const Clock::duration took, destination.restore(phase_timeout));
    note("first page", "ms", seconds(took) * 1e3);
    note("memory", "MiB", static_cast<double>(memory) / (1 << 20));
    return destination.wait_end(phase_timeout);
}

Result<void> one_run(const Mode& mode, Workload workload, const char* name, std::size_t mib,
                     Figures& figures) {
    const auto note = [&](const char* metric, const char* unit, double value) {
        Series& series = figures[{name, mode.name, metric}];
        series.unit = unit;
        series.values.push_back(value);
    };
    GC_TRY(const ScratchDirectory scratch, ScratchDirectory::make());
    GC_TRY(SourceVm vm, SourceVm::start(scratch.path(), mib));
    const std::uint64_t pages = (std::uint64_t{mib} << 20) / page_size;
    std::optional<tls::Credentials> credentials;
    if (mode.tls) {
        GC_TRY(credentials, make_key(scratch.path() / "keys.psk"));
    }
    GC_TRY(const auto destination,
           SyntheticDestination::listen(mode.sender, ram_block, pages, std::move(credentials)));
    const double cpu_before = vm.process().cpu_seconds();
    const auto begun = Clock::now();
    // QEMU's main loop waits for its channels' handshakes while it begins.
    auto accepting = std::async(std::launch::async, [&] {
        return workload == Workload::precopy ? destination->accept_precopy(phase_timeout)
                                             : destination->accept(phase_timeout);
    });
    GC_TRY(auto gcctl, begin(mode, workload, vm, destination->port(), scratch.path()));
    const auto cpu = [&] {
        return vm.process().cpu_seconds() - cpu_before + (gcctl ? gcctl->cpu_seconds() : 0);
    };
    if (workload == Workload::precopy) {
        GC_CHECK(accepting.get());
        note("throughput", "MiB/s", static_cast<double>(mib) / seconds(Clock::now() - begun));
        note("cpu", "s/GiB", cpu() / static_cast<double>(mib) * 1024);
        return {};
    }
    if (auto accepted = accepting.get(); !accepted)
        return wrap(accepted.error(), last_words(scratch.path() / "gcctl.log"));
    const auto ready = Clock::now();
    if (workload == Workload::outage)
        return measure_outage(*destination, *gcctl, pages, note);
    if (workload == Workload::push) {
        GC_CHECK(destination->wait_end(phase_timeout));
        note("throughput", "MiB/s", static_cast<double>(mib) / seconds(Clock::now() - ready));
        if (gcctl)
            note("memory", "MiB", static_cast<double>(gcctl->anonymous_bytes()) / (1 << 20));
        // The source's work until its migration is complete is part of the cost.
        if (gcctl && !gcctl->wait(phase_timeout))
            return fail(ErrorKind::io, "gcctl did not end");
        note("cpu", "s/GiB", cpu() / static_cast<double>(mib) * 1024);
        return {};
    }
    GC_TRY(const std::vector<double> latencies, ask(*destination, pages));
    if (latencies.size() < requests / 10)
        return fail(ErrorKind::io, "only {} pages could be requested before all had arrived",
                    latencies.size());
    note("p50", "us", latencies[latencies.size() / 2]);
    note("p99", "us", latencies[latencies.size() * 99 / 100]);
    note("p99.9", "us", latencies[latencies.size() * 999 / 1000]);
    return {};
}

json rows(const Figures& figures) {
    json all = json::array();
    for (const auto& [key, series] : figures) {
        const auto& [workload, mode, metric] = key;
        const auto* of = std::ranges::find(modes, mode, &Mode::name);
        const auto reference = figures.find({workload, of->reference, metric});
        all.push_back(row(workload, mode, metric.c_str(), series.unit, series.values,
                          reference == figures.end() ? 0 : median(reference->second.values)));
    }
    return all;
}

Result<json> bench(const Options& options) {
    Figures figures;
    for (std::size_t round = 0; round < options.repeats; ++round)
        for (const auto& [workload, name] : workloads)
            for (std::size_t i = 0; i < modes.size(); ++i) {
                // Rotate the order: the machine may be warmer for the second mode.
                const Mode& mode = modes[(i + round) % modes.size()];
                if (!is_of_interest(mode, workload) ||
                    (!options.only.empty() && options.only != name))
                    continue;
                if (auto ran = one_run(mode, workload, name, options.mib, figures); !ran)
                    return wrap(ran.error(), fmt::format("{}, {}", name, mode.name));
            }
    return json{{"bench", "path"},
                {"reference", modes[0].name},
                {"machine", machine()},
                {"memory_mib", options.mib},
                {"rows", rows(figures)}};
}

}  // namespace
}  // namespace gc::bench

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    return gc::bench::run(argc, argv, "path_bench", gc::bench::bench);
}

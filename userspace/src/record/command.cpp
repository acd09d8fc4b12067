// SPDX-License-Identifier: GPL-2.0-or-later
#include "record/command.h"

#include "options/arguments.h"
#include "options/value.h"
#include "record/pace.h"
#include "record/recorder.h"
#include "trace/file.h"
#include "trace/show.h"
#include "util/poll.h"
#include "util/print.h"
#include "util/signals.h"

#include <array>
#include <csignal>
#include <ctime>
#include <nlohmann/json.hpp>

namespace gc::record {
namespace {

namespace po = boost::program_options;
using std::chrono::milliseconds;
using Clock = Recorder::Clock;

struct Options {
    std::string qmp;
    capture::TrackMode mode = capture::TrackMode::age;
    milliseconds duration{0};
    std::optional<milliseconds> interval;  ///< chosen by Pace if not set
    std::string output;
    bool json = false;
};

Result<capture::TrackMode> parse_mode(std::string_view text) {
    if (text == "order")
        return capture::TrackMode::order;
    if (text == "age")
        return capture::TrackMode::age;
    return fail(ErrorKind::usage, "invalid mode '{}' (expected order or age)", text);
}

options::Manual manual_of(Options& options) {
    options::Group recording("Recording");
    recording.add_options()("qmp", po::value(&options.qmp)->required()->value_name("SOCKET"),
                            "QMP unix socket of the QEMU whose VM is recorded")(
        "mode",
        options::value(&options.mode, parse_mode)->default_value("age")->value_name("order|age"),
        "order: the first touches of each interval in order, at the cost of a page fault each; "
        "age: the set of pages touched in each interval, without faults")(
        "for",
        options::duration(&options.duration, milliseconds(1))
            ->default_value("10s")
            ->value_name("TIME"),
        "length of the recording; SIGINT ends it earlier")(
        "interval", options::duration(&options.interval, milliseconds(1))->value_name("TIME"),
        "length of an interval, which becomes an epoch of the trace (default: 1s, or longer if a "
        "scan "
        "of all memory would take more than 1 % of a CPU)");
    options::Group output("Output");
    output.add_options()("output,o", po::value(&options.output)->required()->value_name("FILE"),
                         "write the trace to FILE; gcctl trace shows it")(
        "json", po::bool_switch(&options.json), "print JSON, one object per line");
    return {.name = "record",
            .synopsis = "--qmp SOCKET -o FILE [options]",
            .summary = "record which memory of a running VM is in use",
            .description = "Tracks the VM with guidecopy.ko and writes an access trace, which "
                           "gcctl migrate --hot, gcctl trace and gcctl simulate read. Covers the "
                           "accesses of vCPUs only, not those of QEMU or vhost.",
            .operand = {},
            .groups = {recording, output, options::general_options()},
            .subcommands = {}};
}

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    GC_TRY(const auto values, options::parse(manual_of(options), arguments));
    if (!values)
        return std::nullopt;
    return options;
}

enum class Wake { due, interrupted, vm_gone };

/// Waits until a point in time, unless something ends the recording first.
Result<Wake> wait_until(Deadline deadline, const Signals& signals, int track) {
    while (!deadline.expired()) {
        // No POLLIN for the track: only its end matters.
        std::array<pollfd, 2> waits{{{signals.fd(), POLLIN, 0}, {track, 0, 0}}};
        GC_CHECK(poll_until(waits, deadline));
        if ((waits[1].revents & POLLHUP) != 0)
            return Wake::vm_gone;
        if (const auto signal = signals.take(); signal && *signal != SIGUSR1)
            return Wake::interrupted;
    }
    return Wake::due;
}

/// Whether the VM's end is the reason why an epoch could not be ended. The module rejects scans
/// (ESRCH) as soon as the process has released its memory, and hangs up slightly later.
bool vm_gone(int track) {
    std::array<pollfd, 1> waits{{{track, 0, 0}}};
    return poll_until(waits, milliseconds(1000)).value_or(false) &&
           (waits[0].revents & POLLHUP) != 0;
}

/// CPU time that this process has used.
std::chrono::nanoseconds cpu_time() {
    timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

/// The consumers of the epochs.
struct Output {
    trace::TraceFile file;
    trace::Show show;

    Result<void> take(const trace::Epoch& epoch) {
        show.epoch(epoch);
        return file.append(epoch);
    }
};

/// Records epochs until the time is over or something else ends the recording.
Result<Wake> record_epochs(TrackedVm& vm, const Options& options, const Signals& signals,
                           Output& output) {
    const int track = vm.track().fd();
    Recorder recorder(vm);
    Pace pace(options.interval);
    const Clock::time_point end = recorder.epoch_begin() + options.duration;
    Wake wake = Wake::due;
    while (wake == Wake::due && recorder.epoch_begin() < end) {
        GC_TRY(wake, wait_until(Deadline(std::min<Clock::time_point>(end, recorder.epoch_begin() +
                                                                              pace.length())),
                                signals, track));
        const auto before = cpu_time();
        if (auto epoch = recorder.end_epoch())
            GC_CHECK(output.take(*epoch));
        else if (vm_gone(track))
            return Wake::vm_gone;  // the epoch in progress is lost
        else
            return Unexpected(epoch.error());
        pace.ended(cpu_time() - before);
    }
    return wake;
}

Result<void> finish(TrackedVm& vm, const Options& options, Output& output, Wake wake) {
    GC_CHECK(output.file.finish());
    const std::string wrote = fmt::format("{}: {} epochs, {} bytes", options.output,
                                          output.file.epochs(), output.file.bytes());
    output.show.total({{"file", options.output},
                       {"epochs", output.file.epochs()},
                       {"bytes", output.file.bytes()},
                       {"interrupted", wake == Wake::interrupted}},
                      wrote);
    if (wake == Wake::vm_gone)
        return fail(ErrorKind::io, "the VM's process {} ended; {} has the recording up to then",
                    vm.pid(), options.output);
    GC_TRY(const capture::Stats stats, vm.track().stats());
    if (stats.unmapped != 0)
        print_best_effort(stderr,
                          "gcctl record: warning: QEMU unmapped {} pages of memory during the "
                          "recording; they were not tracked from then on\n",
                          stats.unmapped);
    return {};
}

Result<void> record(const Options& options) {
    GC_TRY(const Signals signals, Signals::block());
    GC_TRY(qmp::Client client, qmp::Client::connect(options.qmp));
    GC_TRY(TrackedVm vm, TrackedVm::open(client, options.mode));
    const trace::Header header{
        static_cast<trace::Mode>(options.mode),
        static_cast<std::uint64_t>(options.interval.value_or(milliseconds(0)).count()) * 1000,
        vm.blocks()};
    GC_TRY(trace::TraceFile file, trace::TraceFile::create(options.output, header));
    Output output{std::move(file), trace::Show(header, options.json)};
    output.show.begin("recording", {{"pid", vm.pid()}},
                      fmt::format("recording process {}", vm.pid()));
    GC_TRY(const Wake wake, record_epochs(vm, options, signals, output));
    return finish(vm, options, output, wake);
}

}  // namespace

options::Manual manual() {
    static Options options;
    return manual_of(options);
}

int command(std::span<const std::string> arguments) {
    return options::run("record", arguments, parse, record);
}

}  // namespace gc::record

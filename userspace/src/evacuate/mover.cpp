// SPDX-License-Identifier: GPL-2.0-or-later
#include "evacuate/mover.h"

#include "report/report.h"
#include "util/poll.h"
#include "util/text.h"
#include "util/whole_file.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace gc::evacuate {
namespace {

using namespace std::chrono_literals;

struct Pipe {
    UniqueFd read, write;
};

Result<Pipe> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        return fail_errno(errno, "pipe");
    return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<report::Report> read_report(const std::string& path) {
    GC_TRY(const std::string text, read_whole_file(path));
    const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
    if (json.is_discarded())
        return fail(ErrorKind::protocol, "{}: expected a report", path);
    return report::report_from_json(json);
}

}  // namespace

std::vector<std::string> migrate_arguments(const Options& options, const Vm& vm, const Host& host,
                                           const Endpoint& to, std::uint64_t bandwidth,
                                           const std::string& report) {
    std::vector<std::string> arguments{"migrate", "--connect", options.connect, "--domain",
                                       vm.uuid,   "--to",      to.str(),        "--destination-uri",
                                       host.uri,  "--report",  report,          "--json"};
    if (bandwidth > 0)
        arguments.insert(arguments.end(), {"--bandwidth", std::to_string(bandwidth)});
    if (options.metrics_file)
        arguments.insert(arguments.end(), {"--metrics-file", *options.metrics_file});
    arguments.insert(arguments.end(), options.migrate.begin(), options.migrate.end());
    return arguments;
}

Result<Mover> Mover::start(const std::vector<std::string>& arguments, std::string report,
                           Listener listener) {
    GC_TRY(Pipe output, make_pipe());
    GC_TRY(Pipe errors, make_pipe());
    std::vector<std::string> command{"/proc/self/exe"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    GC_TRY(ChildProcess process,
           ChildProcess::spawn(command, output.write.get(), errors.write.get()));
    return Mover(std::move(process), std::move(output.read), std::move(errors.read),
                 std::move(report), std::move(listener));
}

std::array<int, 3> Mover::fds() const {
    const auto fd_of = [](const Stream& stream) { return stream.fd ? stream.fd.get() : -1; };
    return {process_.fd(), fd_of(output_), fd_of(errors_)};
}

template <typename Use> void Mover::drain(Stream& stream, Use use) {
    while (stream.fd && wait_readable(stream.fd.get(), 0ms).value_or(false)) {
        const auto got = stream.buffer.fill(stream.fd.get());
        while (const auto line = stream.buffer.take_line())
            use(*line);
        if (!got || *got == 0)
            stream.fd.reset();
    }
}

void Mover::on_output(std::string_view line) {
    auto event = nlohmann::json::parse(line, nullptr, false);
    if (event.is_object())
        listener_.on_event(std::move(event));
}

void Mover::on_error(std::string_view line) {
    constexpr std::string_view prefix = "gcctl migrate: ";
    std::string_view text = line;
    if (text.starts_with(prefix))
        text.remove_prefix(prefix.size());
    last_error_ = printable(text, 2000);
    listener_.on_error(line);
}

bool Mover::advance() {
    // In this order: what it has printed is there before its end is seen.
    const bool ended = wait_readable(process_.fd(), 0ms).value_or(false);
    drain(output_, [this](std::string_view line) { on_output(line); });
    drain(errors_, [this](std::string_view line) { on_error(line); });
    return ended;
}

int Mover::finish(VmOutcome& outcome) {
    const int status = process_.wait();
    outcome.fate = fate_of(status);
    const auto report = read_report(report_);
    if (report) {
        outcome.error = report->error;
        outcome.total_ms = report->total_ms;
        outcome.downtime_ms = report->downtime_ms;
        outcome.sent_bytes = report->bytes.total;
        outcome.demand_faults = report->demand.faults;
        outcome.demand_stall_ms = report->demand.stall_ms;
    }
    if (outcome.error.empty() && outcome.fate != Fate::moved)
        outcome.error = !last_error_.empty() ? last_error_
                        : status > 128       ? fmt::format("signal {} ended its gcctl migrate; see "
                                                                 "gcctl status",
                                                           status - 128)
                                             : fmt::format("exit status {}", status);
    return status;
}

}  // namespace gc::evacuate

// SPDX-License-Identifier: GPL-2.0-or-later
#include "evacuate/evacuation.h"

#include "evacuate/metrics.h"
#include "metrics/file.h"
#include "peer/hello.h"
#include "util/milliseconds.h"
#include "util/poll.h"
#include "util/print.h"

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>
#include <numeric>

namespace gc::evacuate {
namespace {

using namespace std::chrono_literals;

/// How often a destination is asked again that has not done with the VM before, and when.
constexpr unsigned max_attempts = 30;
constexpr auto retry_interval = 500ms;
constexpr auto tick = 250ms;

VmOutcome outcome_of(const Vm& vm) {
    return {.name = vm.name, .uuid = vm.uuid, .memory = vm.memory, .to = {}, .error = {}};
}

}  // namespace

Evacuation::Evacuation(const Options& options, const Found& found, const Plan& plan, Voice& voice,
                       const Signals& signals, std::string reports)
    : options_(options), facts_(found.facts), voice_(voice), signals_(signals),
      reports_(std::move(reports)) {
    outcome_.moved_before = found.moved_before;
    for (const Move& move : plan.moves) {
        waiting_.push_back({.move = move, .place = outcome_.vms.size()});
        outcome_.vms.push_back(outcome_of(facts_.vms[move.vm]));
    }
    for (const Kept& kept : plan.kept) {
        outcome_.vms.push_back(outcome_of(facts_.vms[kept.vm]));
        outcome_.vms.back().fate = Fate::kept;
        outcome_.vms.back().error = kept.reason;
    }
}

Outcome Evacuation::run() {
    const auto begun = Clock::now();
    begun_ = std::chrono::system_clock::now();
    show_metrics();
    start_next();
    while (!running_.empty() || !waiting_.empty()) {
        wait();
        on_signals();
        reap();
        start_next();
    }
    outcome_.total_ms = in_ms(Clock::now() - begun);
    show_metrics(std::chrono::system_clock::now());
    return std::move(outcome_);
}

void Evacuation::show_metrics(std::chrono::system_clock::time_point end) const {
    if (!options_.metrics_file)
        return;
    const auto shown = metrics::update(*options_.metrics_file, [&](auto& exposition) {
        show(exposition, outcome_, running_.size(), begun_, end);
    });
    if (!shown)
        print_best_effort(stderr, "gcctl: warning: {}\n", shown.error().message);
}

std::optional<Endpoint> Evacuation::free_port(const Host& host) const {
    for (const Endpoint& port : host.ports)
        if (std::ranges::none_of(
                running_, [&](const Running& running) { return running.to.str() == port.str(); }))
            return port;
    return std::nullopt;
}

std::list<Evacuation::Waiting>::iterator Evacuation::next() {
    return std::ranges::find_if(waiting_, [&](const Waiting& waiting) {
        return waiting.from <= Clock::now() && free_port(facts_.hosts[waiting.move.host]);
    });
}

void Evacuation::start_next() {
    while (running_.size() < options_.parallel) {
        const auto found = next();
        if (found == waiting_.end())
            return;
        const Waiting what = *found;
        waiting_.erase(found);
        start(what, *free_port(facts_.hosts[what.move.host]));
    }
}

void Evacuation::start(Waiting what, const Endpoint& to) {
    const Vm& vm = facts_.vms[what.move.vm];
    const std::uint64_t used = std::accumulate(
        running_.begin(), running_.end(), std::uint64_t{0},
        [](std::uint64_t sum, const Running& running) { return sum + running.bandwidth; });
    const std::size_t starting =
        std::min({options_.parallel - running_.size(),
                  options_.destinations.size() - running_.size(), waiting_.size() + 1});
    const std::uint64_t bandwidth =
        options_.budget == 0 ? 0 : share_of(options_.budget, used, starting);
    const std::string report = fmt::format("{}/{}.json", reports_, vm.name);
    outcome(what).to = to.str();
    if (what.attempts == 0)
        voice_.moving(vm, to, bandwidth, outcome_);
    auto mover = Mover::start(
        migrate_arguments(options_, vm, facts_.hosts[what.move.host], to, bandwidth, report),
        report,
        {.on_event = [this, &vm](nlohmann::json event) { voice_.event_of(vm, std::move(event)); },
         .on_error = [this, &vm](std::string_view line) { voice_.error_of(vm, line); }});
    if (mover) {
        running_.push_back({what, to, bandwidth, *std::move(mover)});
        show_metrics();
        return;
    }
    outcome(what).fate = Fate::failed;
    outcome(what).error = mover.error().message;
    voice_.ended(outcome(what));
}

void Evacuation::wait() {
    std::vector<pollfd> waits{{signals_.fd(), POLLIN, 0}};
    for (const Running& running : running_)
        for (const int fd : running.mover.fds())
            waits.push_back({fd, POLLIN, 0});
    // Those that wait for another attempt have no descriptor.
    (void)poll_until(waits, tick);
}

void Evacuation::on_signals() {
    while (const auto signal = signals_.take()) {
        if (*signal == SIGUSR1) {
            for (const Running& running : running_)
                running.mover.signal(SIGUSR1);
            continue;
        }
        outcome_.interrupted = true;
        waiting_.clear();
        if (++signals_seen_ > 1)
            for (const Running& running : running_)
                running.mover.signal(*signal);
        else if (!running_.empty())
            voice_.ending();
    }
}

void Evacuation::reap() {
    for (auto running = running_.begin(); running != running_.end();) {
        if (!running->mover.advance()) {
            ++running;
            continue;
        }
        end(*running);
        running = running_.erase(running);
        show_metrics();
    }
}

void Evacuation::end(Running& running) {
    VmOutcome& ended = outcome(running.what);
    running.mover.finish(ended);
    const bool busy =
        ended.fate == Fate::refused && ended.error.find(peer::busy_reason) != std::string::npos;
    if (busy && !outcome_.interrupted && running.what.attempts < max_attempts) {
        ended.fate = Fate::waiting;
        Waiting again = running.what;
        again.from = Clock::now() + retry_interval;
        ++again.attempts;
        waiting_.push_front(again);
        return;
    }
    voice_.ended(ended);
}

}  // namespace gc::evacuate

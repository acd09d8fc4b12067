// SPDX-License-Identifier: GPL-2.0-or-later
// The moves of a plan: starts them one after the other, or some at a time, and waits for them.
#pragma once

#include "evacuate/facts.h"
#include "evacuate/mover.h"
#include "evacuate/outcome.h"
#include "evacuate/voice.h"
#include "util/signals.h"

#include <chrono>
#include <list>

namespace gc::evacuate {

class Evacuation {
  public:
    /// @param reports the directory for the reports of the migrations
    Evacuation(const Options& options, const Found& found, const Plan& plan, Voice& voice,
               const Signals& signals, std::string reports);

    /// Until all have ended. The first signal lets those in progress end and starts no other; the
    /// second one is theirs, too.
    Outcome run();

  private:
    using Clock = std::chrono::steady_clock;

    struct Waiting {
        Move move;
        std::size_t place;         ///< among the outcomes
        Clock::time_point from{};  ///< not earlier
        unsigned attempts = 0;
    };
    struct Running {
        Waiting what;
        Endpoint to;
        std::uint64_t bandwidth;
        Mover mover;
    };

    /// Starts what can be started.
    void start_next();
    /// The first that waits and whose host has a port without a migration.
    [[nodiscard]] std::list<Waiting>::iterator next();
    [[nodiscard]] std::optional<Endpoint> free_port(const Host& host) const;
    void start(Waiting what, const Endpoint& to);
    void wait();
    void on_signals();
    void reap();
    void end(Running& running);
    /// Writes the file of metrics, if there is to be one.
    void show_metrics(std::chrono::system_clock::time_point end = {}) const;
    [[nodiscard]] VmOutcome& outcome(const Waiting& what) { return outcome_.vms[what.place]; }

    const Options& options_;
    const Facts& facts_;
    Voice& voice_;
    const Signals& signals_;
    std::string reports_;
    std::list<Waiting> waiting_;
    std::list<Running> running_;
    Outcome outcome_;
    std::chrono::system_clock::time_point begun_;
    unsigned signals_seen_ = 0;
};

}  // namespace gc::evacuate

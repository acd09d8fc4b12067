// SPDX-License-Identifier: GPL-2.0-or-later
// The destination's host: the VM, which waits for pages that it touches, and QEMU, which places
// them.
#pragma once

#include "report/histogram.h"
#include "simulate/events.h"
#include "simulate/pages.h"
#include "simulate/workload.h"

#include <array>
#include <deque>
#include <optional>

namespace gc::simulate {

class Destination {
  public:
    /// @param guided Source::guided()
    /// @param demand what is asked for is added there
    Destination(const Workload& workload, const Scenario& scenario, std::uint32_t vm, Pages& pages,
                const std::vector<std::uint32_t>& guided, Events& events, report::Demand& demand);

    void on_resumed(Time now);
    void on_touches(std::uint32_t vcpu, Time now);
    void on_asks(std::uint32_t page, Time now);
    void on_arrived(const Frame& frame, Time now);
    void on_placed(std::uint32_t lane, Time now);

    /// vCPUs that have touches before them.
    [[nodiscard]] std::size_t busy_vcpus() const { return busy_; }
    [[nodiscard]] std::uint64_t placed() const { return placed_; }  ///< pages
    /// That vCPUs waited, from the access to the page in its place; of all together.
    [[nodiscard]] Duration waited() const { return waited_; }

  private:
    struct Walker {
        std::size_t next = 0;
        Duration late{0};
    };
    /// A thread of QEMU that places pages: of the preempt channel, or of the main one, on which
    /// gcctl puts the guide's before the background's.
    struct Lane {
        std::deque<Frame> first, second;
        std::optional<Frame> placing;
        Time handed{};
    };

    /// On to the next touch of a page that is not there.
    void walk(std::uint32_t vcpu, Time now);
    void place_next(std::uint32_t lane, Time now);
    void placed_page(std::uint32_t page, const Frame& frame, Time handed, Time now);

    const Workload& workload_;
    const Scenario& scenario_;
    const std::uint32_t vm_;
    Pages& pages_;
    const std::vector<std::uint32_t>& guided_;
    Events& events_;
    report::Demand& demand_;

    Time resumed_{};
    std::vector<Walker> walkers_;
    std::size_t busy_;
    std::array<Lane, 2> lanes_;
    std::uint64_t placed_ = 0;
    Duration waited_{0};
};

}  // namespace gc::simulate

// SPDX-License-Identifier: GPL-2.0-or-later
// The destination host: the VM, whose vCPUs wait for pages that they touch, and QEMU, which places
// pages.
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
    /// @param demand where requests are counted
    Destination(const Workload& workload, const Scenario& scenario, std::uint32_t vm, Pages& pages,
                const std::vector<std::uint32_t>& guided, Events& events, report::Demand& demand);

    void on_resumed(Time now);
    void on_touches(std::uint32_t vcpu, Time now);
    void on_requests(std::uint32_t page, Time now);
    void on_arrived(const Frame& frame, Time now);
    void on_placed(std::uint32_t lane, Time now);

    /// vCPUs that have touches left.
    [[nodiscard]] std::size_t busy_vcpus() const { return busy_; }
    [[nodiscard]] std::uint64_t placed() const { return placed_; }  ///< pages
    /// How long vCPUs waited, from the access until the page is placed; the sum over all vCPUs.
    [[nodiscard]] Duration waited() const { return waited_; }

  private:
    struct Walker {
        std::size_t next = 0;
        Duration late{0};
    };
    /// A thread of QEMU that places pages: that of the preempt channel, or that of the main
    /// channel, on which gcctl puts guide pages before background pages.
    struct Lane {
        std::deque<Frame> first, second;
        std::optional<Frame> placing;
        Time handed{};
    };

    /// Advances to the next touch of a missing page.
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

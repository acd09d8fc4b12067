// SPDX-License-Identifier: GPL-2.0-or-later
// The link that all simulated VMs share, and the queue in front of it.
#pragma once

#include "simulate/events.h"
#include "simulate/pages.h"

#include <deque>
#include <optional>
#include <utility>

namespace gc::simulate {

/// Carries one frame after the other, without preemption: a background frame is as large as the
/// largest packet that a host hands to its NIC.
class Link {
  public:
    Link(const Scenario& scenario, Events& events) : scenario_(scenario), events_(events) {}

    void send(const Frame& frame, Time now);
    /// The VM is waiting for a page in this frame: if the queue knows the classes, everything in
    /// its channel up to this frame becomes urgent.
    void hurry(std::uint32_t vm, ledger::PageClass as, std::uint32_t number, Time now);

    /// Handles Event::Kind::link_is_free. @return the frame that has been sent, if any
    std::optional<Frame> on_free(Time now);
    /// Handles Event::Kind::arrived. @return the frame that arrived at the destination's host
    Frame take_arrived();

    /// Queued bytes of a VM.
    [[nodiscard]] std::uint64_t waiting(std::uint32_t vm) const;
    /// How long the bytes take at this rate.
    [[nodiscard]] Duration takes(std::uint64_t bytes, double rate) const;

  private:
    void start_next(Time now);
    /// The queue with the next frame; null if all are empty.
    std::deque<Frame>* next_line();

    const Scenario& scenario_;
    Events& events_;
    std::deque<Frame> urgent_, guide_, background_;  ///< only the first if there is one queue
    std::deque<Frame> travelling_;                   ///< in flight, including sent_
    std::optional<Frame> sent_;                      ///< being sent
    Time free_at_{};                                 ///< when sent_ has been sent
    Time spent_until_{};  ///< the link's rate is used up to here; behind now by at most `burst`
    Time paced_until_{};  ///< no paced frame is sent before
    Time woken_at_{};     ///< the last wake-up requested while nothing was being sent
};

}  // namespace gc::simulate

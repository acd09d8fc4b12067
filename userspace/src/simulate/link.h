// SPDX-License-Identifier: GPL-2.0-or-later
// The link that all simulated VMs leave by, and the queue before it.
#pragma once

#include "simulate/events.h"
#include "simulate/pages.h"

#include <deque>
#include <optional>
#include <utility>

namespace gc::simulate {

/// Carries one frame after the other: a frame of the background has as many bytes as the biggest
/// packet that a host hands to its NIC, so nothing is cut short.
class Link {
  public:
    Link(const Scenario& scenario, Events& events) : scenario_(scenario), events_(events) {}

    void send(const Frame& frame, Time now);
    /// The VM came to wait for a page in this frame: where the queue knows the classes, all of its
    /// channel up to it goes as if it were urgent.
    void hurry(std::uint32_t vm, ledger::PageClass as, std::uint32_t number, Time now);

    /// Event::Kind::link_is_free. @return the frame that has left, if one has
    std::optional<Frame> on_free(Time now);
    /// Event::Kind::arrived. @return which frame, at the destination's host
    Frame take_arrived();

    /// Bytes of a VM that wait here.
    [[nodiscard]] std::uint64_t waiting(std::uint32_t vm) const;
    /// How long so many bytes take.
    [[nodiscard]] Duration takes(std::uint64_t bytes, double rate) const;

  private:
    void start_next(Time now);
    /// The line that the next frame is in; null if none waits.
    std::deque<Frame>* next_line();

    const Scenario& scenario_;
    Events& events_;
    std::deque<Frame> urgent_, guide_, background_;  ///< only the first where there is one line
    std::deque<Frame> travelling_;                   ///< up to the one that is being sent
    std::optional<Frame> sent_;                      ///< now
    Time free_at_{};                                 ///< when that has left
    Time spent_until_{};  ///< that the link's rate has been used; at `burst` it is in arrears
    Time paced_until_{};  ///< nothing that is paced leaves before
    Time woken_at_{};     ///< the last event that was asked for while nothing was sent
};

}  // namespace gc::simulate

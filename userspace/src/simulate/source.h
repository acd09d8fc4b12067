// SPDX-License-Identifier: GPL-2.0-or-later
// The source host: the guide that runs ahead, and the choice of pages to send. It follows transfer/
// and uses the same window and pacer.
#pragma once

#include "report/report.h"
#include "simulate/link.h"
#include "simulate/sweep.h"
#include "transfer/pacer.h"

namespace gc::simulate {

/// Bytes that gcctl writes for a page with its head, and for a section without its pages.
inline constexpr std::uint64_t data_bytes = 4096 + 8;
inline constexpr std::uint64_t zero_bytes = 9;
inline constexpr std::uint64_t section_bytes = 32;
/// Size of the device state.
inline constexpr std::uint64_t package_bytes = 128UL * 1024;

class Source {
  public:
    Source(const Workload& workload, const Scenario& scenario, std::uint32_t vm, Pages& pages,
           Link& link, Events& events);

    void on_switch_over(Time now);
    void on_guide_touches(std::uint32_t vcpu, Time now);
    void on_resumed(Time now);
    void on_requested(std::uint32_t page, Time now);
    void on_acknowledged(Time now);
    /// A frame of this VM has been sent.
    void on_left(const Frame& frame, Time now);
    /// Sends what may be sent now.
    void pump(Time now);
    /// No page that the VM will touch is missing: sends the rest as background, all at once.
    /// @return its size in bytes
    std::uint64_t finish();

    /// Guide pages, in the order in which they were sent.
    [[nodiscard]] const std::vector<std::uint32_t>& guided() const { return guided_; }
    [[nodiscard]] const ledger::ClassCounts& sent_pages() const { return sent_pages_; }
    [[nodiscard]] const ledger::ClassCounts& sent_bytes() const { return sent_bytes_; }
    [[nodiscard]] std::uint64_t guide_records() const { return records_; }
    [[nodiscard]] Duration guide_blocked() const { return blocked_time_; }
    /// When the background may start.
    [[nodiscard]] Time background_from() const { return background_from_; }

  private:
    /// A vCPU of the guide.
    struct Walker {
        std::size_t next = 0;  ///< index of its next touch
        Duration late{0};      ///< behind the trace
        Time blocked_at{};
    };

    void schedule(std::uint32_t vcpu, Time not_before);
    void unblock(Time now);
    void pump_guide(Time now);
    void pump_background(Time now);
    /// Claims a page for the next frame. @return false if it has already been claimed
    bool claim(std::uint32_t page, ledger::PageClass as);
    void send(ledger::PageClass as, std::uint32_t first, std::uint32_t last, std::uint64_t pages,
              std::uint64_t bytes, Time now);
    void wake_at(Time when);

    const Workload& workload_;
    const Scenario& scenario_;
    const std::uint32_t vm_;
    Pages& pages_;
    Link& link_;
    Events& events_;

    Time guide_runs_{};
    std::vector<Walker> walkers_;
    std::deque<std::uint32_t> ring_;     ///< pages that the guide touched, not yet sent
    std::deque<std::uint32_t> blocked_;  ///< its vCPUs that are waiting for room in the ring
    std::vector<std::uint32_t> guided_;  ///< guide pages that were sent
    std::uint64_t records_ = 0;
    Duration blocked_time_{0};
    std::uint64_t unsent_ = 0;  ///< bytes of guide pages queued in front of the link
    std::uint64_t unsent_limit_;
    std::uint64_t piece_pages_;

    transfer::Pacer pacer_;
    transfer::BulkWindow window_;
    Sweep sweep_;
    bool resumed_ = false;
    Time background_from_{};
    Time woken_at_{};
    std::uint32_t frames_ = 0;
    ledger::ClassCounts sent_pages_, sent_bytes_;
};

}  // namespace gc::simulate

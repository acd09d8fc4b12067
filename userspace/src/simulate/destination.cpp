// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/destination.h"

#include <algorithm>

namespace gc::simulate {
namespace {

constexpr std::uint32_t urgent_lane = 0, main_lane = 1;

}  // namespace

Destination::Destination(const Workload& workload, const Scenario& scenario, std::uint32_t vm,
                         Pages& pages, const std::vector<std::uint32_t>& guided, Events& events,
                         report::Demand& demand)
    : workload_(workload), scenario_(scenario), vm_(vm), pages_(pages), guided_(guided),
      events_(events), demand_(demand), walkers_(workload.vcpus.size()),
      busy_(workload.vcpus.size()) {}

void Destination::on_resumed(Time now) {
    resumed_ = now;
    for (std::uint32_t vcpu = 0; vcpu < walkers_.size(); ++vcpu)
        walk(vcpu, now);
}

void Destination::walk(std::uint32_t vcpu, Time now) {
    const auto& touches = workload_.vcpus[vcpu];
    Walker& walker = walkers_[vcpu];
    while (walker.next < touches.size() &&
           pages_[touches[walker.next].page].where == Page::Where::here)
        ++walker.next;
    if (walker.next == touches.size()) {
        --busy_;
        return;
    }
    const Time at = resumed_ + touches[walker.next].at + walker.late;
    events_.add({std::max(at, now), Event::Kind::touches, vm_, vcpu});
}

void Destination::on_touches(std::uint32_t vcpu, Time now) {
    const std::uint32_t number = workload_.vcpus[vcpu][walkers_[vcpu].next].page;
    Page& page = pages_[number];
    if (page.where == Page::Where::here) {
        walk(vcpu, now);
        return;
    }
    page.vcpu = vcpu;
    page.touched = now;
    events_.add({now + scenario_.costs.fault, Event::Kind::requests, vm_, number});
}

void Destination::on_requests(std::uint32_t number, Time now) {
    Page& page = pages_[number];
    if (page.where == Page::Where::here)
        return;  // it arrived meanwhile, so QEMU sends no request
    page.requested = true;
    page.requested_at = now;
    ++demand_.faults;
    demand_.timeline.add(now - resumed_);
    events_.add(
        {now + scenario_.rtt / 2 + scenario_.costs.serve, Event::Kind::requested, vm_, number});
}

void Destination::on_arrived(const Frame& frame, Time now) {
    const std::uint32_t number = frame.as == ledger::PageClass::urgent ? urgent_lane : main_lane;
    Lane& lane = lanes_[number];
    (frame.as == ledger::PageClass::background ? lane.second : lane.first).push_back(frame);
    place_next(number, now);
}

void Destination::place_next(std::uint32_t number, Time now) {
    Lane& lane = lanes_[number];
    std::deque<Frame>& from = lane.first.empty() ? lane.second : lane.first;
    if (lane.placing || from.empty())
        return;
    lane.placing = from.front();
    lane.handed = now;
    from.pop_front();
    const Duration takes = scenario_.costs.install * static_cast<std::int64_t>(lane.placing->pages);
    events_.add({now + takes, Event::Kind::placed, vm_, number});
}

void Destination::on_placed(std::uint32_t number, Time now) {
    Lane& lane = lanes_[number];
    const Frame frame = *lane.placing;
    lane.placing.reset();
    placed_ += frame.pages;
    for (std::uint32_t i = frame.first; i < frame.last; ++i)
        placed_page(frame.as == ledger::PageClass::guide ? guided_[i] : i, frame, lane.handed, now);
    if (frame.as == ledger::PageClass::background)
        events_.add({now + scenario_.rtt / 2, Event::Kind::acknowledged, vm_});
    place_next(number, now);
}

void Destination::placed_page(std::uint32_t number, const Frame& frame, Time handed, Time now) {
    Page& page = pages_[number];
    if (page.where != Page::Where::on_its_way || page.frame != frame.number)
        return;  // pages of the range that an earlier frame delivered
    page.where = Page::Where::here;
    if (page.requested)
        demand_.stall.add(std::max(handed - page.requested_at, Duration{0}));
    if (page.vcpu == nobody)
        return;
    walkers_[page.vcpu].late += now - page.touched;
    waited_ += now - page.touched;
    walk(page.vcpu, now);
}

}  // namespace gc::simulate

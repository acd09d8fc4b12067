// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/simulation.h"

#include "simulate/destination.h"
#include "simulate/source.h"

#include <algorithm>
#include <memory>

namespace gc::simulate {
namespace {

double seconds(Duration duration) {
    return std::chrono::duration<double>(duration).count();
}

class Simulation {
  public:
    Simulation(const Workload& workload, const Scenario& scenario)
        : workload_(workload), scenario_(scenario), link_(scenario, events_) {
        for (std::uint32_t vm = 0; vm < scenario.vms; ++vm) {
            vms_.push_back(std::make_unique<Vm>(workload, scenario, vm, link_, events_, demand_));
            events_.add({Time{} + scenario.stagger * vm, Event::Kind::switch_over, vm});
        }
    }

    Outcome run() {
        while (busy()) {
            const Event event = events_.take();
            now_ = event.at;
            handle(event);
        }
        Outcome outcome;
        outcome.total = finish() + scenario_.rtt / 2 - Time{};
        for (const auto& vm : vms_)
            add(outcome, *vm);
        outcome.demand = demand_;
        outcome.downtime = downtime();
        return outcome;
    }

  private:
    struct Vm {
        Vm(const Workload& workload, const Scenario& scenario, std::uint32_t number, Link& link,
           Events& events, report::Demand& demand)
            : pages(workload.pages.size()), source(workload, scenario, number, pages, link, events),
              destination(workload, scenario, number, pages, source.guided(), events, demand) {}
        Pages pages;
        Source source;
        Destination destination;
    };

    [[nodiscard]] bool busy() const {
        return std::ranges::any_of(vms_,
                                   [](const auto& vm) { return vm->destination.busy_vcpus() > 0; });
    }
    [[nodiscard]] Duration downtime() const;
    void handle(const Event& event);
    void handle_link(const Event& event);
    /// No more touches: the rest arrives at a constant rate. @return when everything has arrived
    Time finish();
    static void add(Outcome& to, const Vm& vm);

    const Workload& workload_;
    const Scenario& scenario_;
    Events events_;
    Link link_;
    report::Demand demand_;
    std::vector<std::unique_ptr<Vm>> vms_;
    Time now_{};
};

Duration Simulation::downtime() const {
    return scenario_.downtime.value_or(link_.takes(package_bytes, scenario_.link) +
                                       scenario_.costs.load + 2 * scenario_.rtt);
}

void Simulation::handle(const Event& event) {
    Vm& vm = *vms_[event.vm];
    switch (event.kind) {
    case Event::Kind::switch_over:
        vm.source.on_switch_over(now_);
        events_.add({now_ + downtime(), Event::Kind::resumed, event.vm});
        break;
    case Event::Kind::guide_touches:
        return vm.source.on_guide_touches(event.what, now_);
    case Event::Kind::resumed:
        vm.destination.on_resumed(now_);
        return vm.source.on_resumed(now_);
    case Event::Kind::touches:
        return vm.destination.on_touches(event.what, now_);
    case Event::Kind::requests:
        return vm.destination.on_requests(event.what, now_);
    case Event::Kind::requested:
        return vm.source.on_requested(event.what, now_);
    case Event::Kind::pump:
        return vm.source.pump(now_);
    case Event::Kind::placed:
        return vm.destination.on_placed(event.what, now_);
    case Event::Kind::acknowledged:
        return vm.source.on_acknowledged(now_);
    case Event::Kind::link_is_free:
    case Event::Kind::arrived:
        return handle_link(event);
    }
}

void Simulation::handle_link(const Event& event) {
    if (event.kind == Event::Kind::arrived) {
        const Frame frame = link_.take_arrived();
        vms_[frame.vm]->destination.on_arrived(frame, now_);
    } else if (const auto left = link_.on_free(now_)) {
        vms_[left->vm]->source.on_left(*left, now_);
    }
}

Time Simulation::finish() {
    struct Rest {
        double bytes;
        double seconds;  ///< how long placing it takes at least
    };
    std::vector<Rest> rests;
    Time begin = now_;
    for (std::uint32_t number = 0; number < vms_.size(); ++number) {
        Vm& vm = *vms_[number];
        const double bytes = static_cast<double>(vm.source.finish() + link_.waiting(number));
        const auto pages = static_cast<double>(workload_.memory - vm.destination.placed());
        const double limit = static_cast<double>(scenario_.bandwidth);
        rests.push_back({bytes, std::max(pages * seconds(scenario_.costs.install),
                                         limit > 0 ? bytes / limit : 0)});
        if (bytes > 0)
            begin = std::max(begin, vm.source.background_from());
    }
    // The link is shared evenly: the VM with the fewest bytes is done first, and the others get its
    // share.
    std::ranges::sort(rests, {}, &Rest::bytes);
    double done = 0, elapsed = 0, all = 0;
    std::size_t left = rests.size();
    for (const Rest& rest : rests) {
        elapsed += (rest.bytes - done) * scenario_.wire * static_cast<double>(left--) /
                   scenario_.background_rate;
        done = rest.bytes;
        all = std::max({all, elapsed, rest.seconds});
    }
    return begin + std::chrono::ceil<Duration>(std::chrono::duration<double>(all));
}

void Simulation::add(Outcome& to, const Vm& vm) {
    to.pages += vm.source.sent_pages();
    to.bytes += vm.source.sent_bytes();
    to.waited += vm.destination.waited();
    to.guide_records += vm.source.guide_records();
    to.guide_blocked += vm.source.guide_blocked();
}

}  // namespace

Outcome run(const Workload& workload, const Scenario& scenario) {
    Outcome outcome = Simulation(workload, scenario).run();
    outcome.vcpus = workload.vcpus.size() * scenario.vms;
    return outcome;
}

}  // namespace gc::simulate

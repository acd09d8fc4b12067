// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/source.h"

#include "transfer/page_sender.h"
#include "transfer/unsent_limit.h"

#include <algorithm>

namespace gc::simulate {
namespace {

constexpr std::uint64_t guide_section = transfer::PageSender::section_data / page_size;
constexpr std::uint64_t bulk_section = transfer::PageSender::bulk_section_data / page_size;
/// TCP hands a NIC a millisecond's worth of its rate at a time. On slow links, a section therefore
/// becomes several pieces that arrive one by one and let others overtake in between.
constexpr double piece_seconds = 0.001;
constexpr std::uint64_t section_zeros = 256;  // BulkPusher's background_batch
/// How much TCP queues in a qdisc that holds it back.
constexpr std::uint64_t qdisc_bytes = 128UL * 1024;

}  // namespace

Source::Source(const Workload& workload, const Scenario& scenario, std::uint32_t vm, Pages& pages,
               Link& link, Events& events)
    : workload_(workload), scenario_(scenario), vm_(vm), pages_(pages), link_(link),
      events_(events), pacer_(scenario.bandwidth), sweep_(workload) {
    const double piece = scenario.link * piece_seconds / static_cast<double>(data_bytes);
    piece_pages_ = std::max<std::uint64_t>(static_cast<std::uint64_t>(piece), 1);
    const double queue = std::chrono::duration<double>(scenario.queue).count();
    unsent_limit_ =
        transfer::unsent_limit(static_cast<std::uint64_t>(scenario.link)) +
        (scenario.by_class ? qdisc_bytes : static_cast<std::uint64_t>(scenario.link * queue));
}

void Source::on_switch_over(Time now) {
    sent_bytes_.add(ledger::PageClass::urgent, package_bytes);
    if (!scenario_.guide)
        return;
    guide_runs_ = now + scenario_.costs.load;
    walkers_.resize(workload_.vcpus.size());
    for (std::uint32_t vcpu = 0; vcpu < walkers_.size(); ++vcpu)
        schedule(vcpu, now);
}

void Source::schedule(std::uint32_t vcpu, Time not_before) {
    const auto& touches = workload_.vcpus[vcpu];
    Walker& walker = walkers_[vcpu];
    if (walker.next == touches.size())
        return;
    walker.late += scenario_.costs.capture;
    const Time at = guide_runs_ + touches[walker.next].at + walker.late;
    events_.add({std::max(at, not_before), Event::Kind::guide_touches, vm_, vcpu});
}

void Source::on_guide_touches(std::uint32_t vcpu, Time now) {
    Walker& walker = walkers_[vcpu];
    if (ring_.size() >= scenario_.lead) {
        walker.blocked_at = now;
        blocked_.push_back(vcpu);
        return;
    }
    ++records_;
    ring_.push_back(workload_.vcpus[vcpu][walker.next++].page);
    schedule(vcpu, now);
    pump(now);
}

void Source::unblock(Time now) {
    while (!blocked_.empty() && ring_.size() < scenario_.lead) {
        const std::uint32_t vcpu = blocked_.front();
        blocked_.pop_front();
        Walker& walker = walkers_[vcpu];
        walker.late += now - walker.blocked_at;
        blocked_time_ += now - walker.blocked_at;
        ++records_;
        ring_.push_back(workload_.vcpus[vcpu][walker.next++].page);
        schedule(vcpu, now);
    }
}

void Source::on_resumed(Time now) {
    resumed_ = true;
    background_from_ = now + scenario_.hold_background;
    wake_at(background_from_);
    pump(now);
}

void Source::on_requested(std::uint32_t page, Time now) {
    if (claim(page, ledger::PageClass::urgent))
        send(ledger::PageClass::urgent, page, page + 1, 1, data_bytes, now);
    else if (pages_[page].where == Page::Where::on_its_way)
        link_.hurry(vm_, pages_[page].as, pages_[page].frame, now);
}

void Source::on_acknowledged(Time now) {
    window_.acknowledged(now);
    pump(now);
}

void Source::on_left(const Frame& frame, Time now) {
    if (frame.as != ledger::PageClass::guide)
        return;
    unsent_ -= frame.bytes;
    pump(now);
}

void Source::pump(Time now) {
    pump_guide(now);
    if (resumed_ && ring_.empty() && now >= background_from_)
        pump_background(now);
}

void Source::pump_guide(Time now) {
    while (!ring_.empty() && unsent_ < unsent_limit_) {
        if (const auto rest = pacer_.wait(now); rest > Duration{0}) {
            wake_at(now + rest);
            return;
        }
        const auto first = static_cast<std::uint32_t>(guided_.size());
        for (; !ring_.empty() && guided_.size() - first < std::min(piece_pages_, guide_section);
             ring_.pop_front())
            if (claim(ring_.front(), ledger::PageClass::guide))
                guided_.push_back(ring_.front());
        const auto last = static_cast<std::uint32_t>(guided_.size());
        if (last > first)
            send(ledger::PageClass::guide, first, last, last - first,
                 (last - first) * data_bytes + section_bytes, now);
        unblock(now);
    }
}

void Source::pump_background(Time now) {
    while (window_.open()) {
        if (const auto rest = pacer_.wait(now); rest > Duration{0}) {
            wake_at(now + rest);
            return;
        }
        const Sweep::Piece data = sweep_.take_data(
            std::min({piece_pages_, bulk_section, window_.piece()}),
            [&](std::uint32_t page) { return claim(page, ledger::PageClass::background); });
        const std::uint64_t zeros = data.pages > 0 ? 0 : sweep_.take_zeros(section_zeros);
        if (data.pages + zeros == 0)
            return;
        sent_pages_.zero += zeros;
        window_.sent(data.pages + zeros, now);
        send(ledger::PageClass::background, data.first, data.last, data.pages + zeros,
             data.pages * data_bytes + zeros * zero_bytes + section_bytes, now);
    }
}

bool Source::claim(std::uint32_t page, ledger::PageClass as) {
    Page& claimed = pages_[page];
    if (claimed.where != Page::Where::source)
        return false;
    claimed.where = Page::Where::on_its_way;
    claimed.as = as;
    claimed.frame = frames_;
    return true;
}

void Source::send(ledger::PageClass as, std::uint32_t first, std::uint32_t last,
                  std::uint64_t pages, std::uint64_t bytes, Time now) {
    if (as != ledger::PageClass::urgent)
        pacer_.spend(bytes, now);
    if (as == ledger::PageClass::guide)
        unsent_ += bytes;
    sent_pages_.add(as, pages);
    sent_bytes_.add(as, bytes);
    link_.send({as, vm_, frames_++, first, last, pages, bytes}, now);
}

void Source::wake_at(Time when) {
    if (when == woken_at_)
        return;
    woken_at_ = when;
    events_.add({when, Event::Kind::pump, vm_});
}

std::uint64_t Source::finish() {
    // All touched pages have been claimed: only untouched pages are left.
    const std::uint64_t data = sweep_.data_left(), zeros = sweep_.zeros_left();
    const std::uint64_t sections =
        (data + bulk_section - 1) / bulk_section + (zeros + section_zeros - 1) / section_zeros;
    const std::uint64_t bytes = data * data_bytes + zeros * zero_bytes + sections * section_bytes;
    sent_pages_.zero += zeros;
    sent_pages_.add(ledger::PageClass::background, data + zeros);
    sent_bytes_.add(ledger::PageClass::background, bytes);
    return bytes;
}

}  // namespace gc::simulate

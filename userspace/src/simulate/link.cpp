// SPDX-License-Identifier: GPL-2.0-or-later
#include "simulate/link.h"

#include <algorithm>
#include <cmath>

namespace gc::simulate {

Duration Link::takes(std::uint64_t bytes, double rate) const {
    const double seconds = static_cast<double>(bytes) * scenario_.wire / rate;
    return Duration(static_cast<std::int64_t>(std::ceil(seconds * 1e9 - 1e-3)));
}

void Link::send(const Frame& frame, Time now) {
    const bool first_line = !scenario_.by_class || frame.as == ledger::PageClass::urgent;
    (first_line                             ? urgent_
     : frame.as == ledger::PageClass::guide ? guide_
                                            : background_)
        .push_back(frame);
    start_next(now);
}

void Link::hurry(std::uint32_t vm, ledger::PageClass as, std::uint32_t number, Time now) {
    if (!scenario_.by_class || as == ledger::PageClass::urgent)
        return;
    std::deque<Frame>& line = as == ledger::PageClass::guide ? guide_ : background_;
    const auto hurried = [&](const Frame& frame) {
        return frame.vm == vm && frame.number <= number;
    };
    std::ranges::copy_if(line, std::back_inserter(urgent_), hurried);
    std::erase_if(line, hurried);
    start_next(now);
}

std::deque<Frame>* Link::next_line() {
    for (std::deque<Frame>* line : {&urgent_, &guide_, &background_})
        if (!line->empty())
            return line;
    return nullptr;
}

void Link::start_next(Time now) {
    std::deque<Frame>* line = sent_ ? nullptr : next_line();
    if (line == nullptr)
        return;
    const bool paced = line != &urgent_;
    if (paced && now < paced_until_) {
        if (woken_at_ != paced_until_)
            events_.add({paced_until_, Event::Kind::link_is_free});
        woken_at_ = paced_until_;
        return;
    }
    const Frame frame = line->front();
    line->pop_front();
    if (paced)
        paced_until_ = now + takes(frame.bytes, frame.as == ledger::PageClass::guide
                                                    ? scenario_.guide_rate
                                                    : scenario_.background_rate);
    sent_ = frame;
    const Time saved = now - takes(scenario_.burst, scenario_.link);
    spent_until_ = std::max(spent_until_, saved) + takes(frame.bytes, scenario_.link);
    free_at_ = std::max(now, spent_until_);
    travelling_.push_back(frame);
    events_.add({free_at_, Event::Kind::link_is_free});
    events_.add({free_at_ + scenario_.rtt / 2, Event::Kind::arrived});
}

std::optional<Frame> Link::on_free(Time now) {
    std::optional<Frame> left;
    // A wake-up requested while the link was idle may come while a frame is being sent.
    if (sent_ && now >= free_at_)
        left = std::exchange(sent_, std::nullopt);
    start_next(now);
    return left;
}

Frame Link::take_arrived() {
    const Frame frame = travelling_.front();
    travelling_.pop_front();
    return frame;
}

std::uint64_t Link::waiting(std::uint32_t vm) const {
    std::uint64_t bytes = 0;
    for (const std::deque<Frame>* line : {&urgent_, &guide_, &background_})
        for (const Frame& frame : *line)
            bytes += frame.vm == vm ? frame.bytes : 0;
    return bytes;
}

}  // namespace gc::simulate

// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/demand_meter.h"

namespace gc::receive {

template <typename Reader, typename Handle>
void DemandMeter::follow(Reader& reader, std::vector<std::byte>& buffer,
                         std::span<const std::byte> bytes, Handle handle) {
    const std::lock_guard lock(mutex_);
    if (!problem_.empty())
        return;
    // Mostly whole items come, which need no copy.
    std::span<const std::byte> input = bytes;
    if (!buffer.empty()) {
        buffer.insert(buffer.end(), bytes.begin(), bytes.end());
        input = buffer;
    }
    for (;;) {
        const auto item = reader.next(input);
        if (!item) {
            problem_ = item.error().message;
            buffer.clear();
            return;
        }
        if (!*item)
            break;
        handle(**item);
    }
    if (buffer.empty())
        buffer.assign(input.begin(), input.end());
    else
        buffer.erase(buffer.begin(), buffer.end() - static_cast<std::ptrdiff_t>(input.size()));
}

void DemandMeter::saw_requests(std::span<const std::byte> bytes) {
    follow(requests_, requests_buffer_, bytes, [this](const stream::ReturnMessage& message) {
        const auto* request = std::get_if<stream::PageRequest>(&message);
        if (request == nullptr)
            return;
        // One host page, which QEMU places when its last target page is there: they are sent in
        // order.
        const Page last{request->block, request->start + request->length - stream::target_page};
        if (!asked_.insert(last).second)
            return;
        const auto now = Clock::now();
        ++demand_.faults;
        demand_.timeline.add(now - begin_.value_or(now));
        waiting_.emplace(last, now);
    });
}

void DemandMeter::saw_main(std::span<const std::byte> bytes) {
    follow(main_, main_buffer_, bytes, [this](const stream::Item& item) { arrived(item); });
}

void DemandMeter::saw_urgent(std::span<const std::byte> bytes) {
    follow(urgent_, urgent_buffer_, bytes, [this](const stream::Item& item) { arrived(item); });
}

void DemandMeter::arrived(const stream::Item& item) {
    if (std::holds_alternative<stream::Package>(item))
        begin_ = Clock::now();
    if (waiting_.empty())
        return;
    Page page;
    if (const auto* data = std::get_if<stream::RamPage>(&item))
        page = {std::string(data->block), data->offset};
    else if (const auto* zero = std::get_if<stream::RamZero>(&item))
        page = {std::string(zero->block), zero->offset};
    else
        return;
    if (const auto found = waiting_.find(page); found != waiting_.end()) {
        demand_.stall.add(Clock::now() - found->second);
        waiting_.erase(found);
    }
}

report::Demand DemandMeter::result() const {
    const std::lock_guard lock(mutex_);
    return demand_;
}

std::set<DemandMeter::Page> DemandMeter::asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
}

std::string DemandMeter::problem() const {
    const std::lock_guard lock(mutex_);
    return problem_;
}

}  // namespace gc::receive

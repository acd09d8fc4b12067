// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/demand_meter.h"

namespace gc::receive {

void DemandMeter::saw_requests(std::span<const std::byte> bytes, const IsLocal& is_local) {
    const std::lock_guard lock(mutex_);
    if (!problem_.empty())
        return;
    requests_buffer_.append(bytes);
    std::span<const std::byte> input = requests_buffer_.bytes();
    if (const auto read = read_requests(input, is_local); !read)
        problem_ = read.error().message;
    requests_buffer_.keep(input.size());
}

Result<void> DemandMeter::read_requests(std::span<const std::byte>& input,
                                        const IsLocal& is_local) {
    for (;;) {
        GC_TRY(const auto message, requests_.next(input));
        if (!message)
            return {};
        const auto* request = std::get_if<stream::PageRequest>(&*message);
        if (request == nullptr)
            continue;
        GC_TRY(const std::size_t block, blocks_.id(request->block));
        // A request is for one host page. Its target pages are sent in order, so QEMU can place it
        // when the last one is there.
        requested({block, request->start + request->length - stream::target_page},
                  is_local && is_local(*request));
    }
}

void DemandMeter::requested(BlockPage page, bool local) {
    // A page that was requested of the source may be told as zeros before it is requested again.
    if (asked_.contains(page) || !(local ? local_ : asked_).insert(page).second)
        return;
    const auto now = Clock::now();
    if (local) {
        ++demand_.local;
    } else {
        ++demand_.faults;
        demand_.timeline.add(now - begin_.value_or(now));
    }
    waiting_.emplace(page, Wait{now, local});
}

void DemandMeter::saw_switch_over() {
    const std::lock_guard lock(mutex_);
    begin_ = Clock::now();
}

void DemandMeter::saw_sections(std::span<const std::byte> bytes) {
    scan(sections_, bytes);
}

void DemandMeter::saw_urgent(std::span<const std::byte> bytes) {
    scan(urgent_, bytes);
}

void DemandMeter::scan(RecordScanner& scanner, std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    if (!problem_.empty())
        return;
    if (const auto scanned = scanner.feed(bytes); !scanned)
        problem_ = scanned.error().message;
}

void DemandMeter::arrived(BlockPage page) {
    if (waiting_.empty())
        return;
    if (const auto found = waiting_.find(page); found != waiting_.end()) {
        const auto waited = Clock::now() - found->second.since;
        if (found->second.local)
            demand_.local_stall += waited;
        else
            demand_.stall.add(waited);
        waiting_.erase(found);
    }
}

report::Demand DemandMeter::result() const {
    const std::lock_guard lock(mutex_);
    return demand_;
}

std::vector<DemandMeter::Page> DemandMeter::asked() const {
    const std::lock_guard lock(mutex_);
    std::vector<Page> pages;
    pages.reserve(asked_.size());
    for (const BlockPage& page : asked_)
        pages.push_back({blocks_.name(page.block), page.offset});
    return pages;
}

std::string DemandMeter::problem() const {
    const std::lock_guard lock(mutex_);
    return problem_;
}

}  // namespace gc::receive

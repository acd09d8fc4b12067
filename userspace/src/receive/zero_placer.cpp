// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/zero_placer.h"

#include "peer/zero_runs.h"
#include "stream/format.h"

#include <optional>
#include <utility>

namespace gc::receive {

Result<void> ZeroPlacer::told(std::span<const std::byte> frame) {
    GC_TRY(const peer::ZeroRuns zeros, peer::decode_zero_runs(frame));
    std::vector<ZeroPages::Page> wanted;
    {
        const std::lock_guard lock(mutex_);
        if (ram_section_.value_or(zeros.ram_section) != zeros.ram_section)
            return fail(ErrorKind::protocol,
                        "expected zero pages of section {}, the source names section {}",
                        *ram_section_, zeros.ram_section);
        if (!ram_section_)
            ram_section_ = zeros.ram_section;
        GC_CHECK(pages_.add(zeros.block, zeros.runs));
        for (auto page = asked_.begin(); page != asked_.end() && !stopped_;) {
            if (pages_.take(*page)) {
                wanted.push_back(*page);
                ++in_hand_;
                given_ahead_ = 0;
                page = asked_.erase(page);
            } else {
                ++page;
            }
        }
        changed_.notify_all();
    }
    give(wanted);
    return {};
}

void ZeroPlacer::told_all() {
    const std::lock_guard lock(mutex_);
    told_all_ = true;
    asked_.clear();
    changed_.notify_all();
}

void ZeroPlacer::saw_requests(std::span<const std::byte> bytes) {
    if (!readable_)
        return;
    requests_buffer_.append(bytes);
    std::span<const std::byte> input = requests_buffer_.bytes();
    for (;;) {
        const auto message = requests_.next(input);
        // The source finds that, too, and ends the migration.
        readable_ = message.has_value();
        if (!readable_ || !*message)
            break;
        if (const auto* request = std::get_if<stream::PageRequest>(&**message))
            requested(*request);
    }
    requests_buffer_.keep(input.size());
}

std::optional<ZeroPages::Page> ZeroPlacer::page_of(const stream::PageRequest& request) const {
    const auto block = pages_.find(request.block);
    if (!block || !pages_.blocks()[*block].small)
        return std::nullopt;
    return ZeroPages::Page{*block, request.start / stream::target_page};
}

void ZeroPlacer::requested(const stream::PageRequest& request) {
    std::optional<ZeroPages::Page> page;
    {
        const std::lock_guard lock(mutex_);
        page = page_of(request);
        if (!page || stopped_)
            return;
        if (!pages_.take(*page)) {
            if (!told_all_ && !pages_.told(*page))
                asked_.insert(*page);
            return;
        }
        ++in_hand_;
        given_ahead_ = 0;
        changed_.notify_all();
    }
    give(std::span(&*page, 1));
}

void ZeroPlacer::give(std::span<const ZeroPages::Page> pages) {
    // Neither the names nor the section change once a page was told.
    for (const ZeroPages::Page& page : pages)
        give_(*ram_section_, pages_.blocks()[page.block].name, page.number);
    placed(pages.size());
}

void ZeroPlacer::begin() {
    const std::lock_guard lock(mutex_);
    begun_ = true;
    changed_.notify_all();
}

bool ZeroPlacer::await_work() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] {
        return stopped_ || (begun_ && pages_.left() > 0) || (told_all_ && pages_.left() == 0);
    });
    return !stopped_ && pages_.left() > 0;
}

void ZeroPlacer::rest() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, pause, [this] { return stopped_ || given_ahead_ < ahead; });
}

bool ZeroPlacer::hurried() const {
    const std::lock_guard lock(mutex_);
    return given_ahead_ < ahead;
}

ZeroPlacer::Portion ZeroPlacer::take() {
    Portion taken;
    const std::lock_guard lock(mutex_);
    if (stopped_ || pages_.left() == 0)
        return taken;
    stream::Buffer& section = taken.section;
    stream::append_section_part(section, *ram_section_);
    while (taken.pages < portion) {
        const auto run = pages_.take_next(portion - taken.pages);
        if (!run)
            break;
        for (std::uint64_t i = 0; i < run->pages.count; ++i)
            stream::append_page_head(section, (run->pages.first + i) * stream::target_page,
                                     i == 0 ? std::string_view(pages_.blocks()[run->block].name)
                                            : std::string_view{},
                                     true);
        taken.pages += run->pages.count;
    }
    stream::append_end_of_ram(section);
    stream::append_section_footer(section, *ram_section_);
    in_hand_ += taken.pages;
    given_ahead_ += taken.pages;
    return taken;
}

void ZeroPlacer::placed(std::uint64_t pages) {
    const std::lock_guard lock(mutex_);
    in_hand_ -= pages;
    changed_.notify_all();
}

bool ZeroPlacer::is_told(const stream::PageRequest& request) const {
    const std::lock_guard lock(mutex_);
    const auto page = page_of(request);
    return page && pages_.told(*page);
}

bool ZeroPlacer::await_placed() {
    std::unique_lock lock(mutex_);
    const auto all_placed = [this] { return told_all_ && pages_.left() == 0 && in_hand_ == 0; };
    changed_.wait(lock, [&] { return stopped_ || all_placed(); });
    return all_placed();
}

void ZeroPlacer::stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
}

}  // namespace gc::receive

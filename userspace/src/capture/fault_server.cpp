// SPDX-License-Identifier: GPL-2.0-or-later
#include "capture/fault_server.h"

#include "util/guarded.h"

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <sys/socket.h>

namespace gc::capture {
namespace {

using namespace std::chrono_literals;

/// Readers are told of records together, as by the module (notify_delay_us): waking a thread for
/// each touch would cost more than the touch.
constexpr auto notify_delay = 200us;
constexpr std::size_t notify_count = 16;
/// For QEMU to read a fault that is left to it.
constexpr auto qemu_turn = 1ms;
/// Pages answered at once where a guide reads pages in order that the destination has.
constexpr std::uint64_t neighbours = 16;
/// Offers that may wait; a guide that is that far behind is of no help.
constexpr std::size_t max_offers = 4096;
/// Requests are 12 bytes, or a few more with a block's name.
constexpr std::size_t read_size = 4096;
/// More than this is written at once: QEMU reads 32 KiB at a time (IO_BUF_SIZE in
/// migration/qemu-file.c, 7.2).
constexpr std::size_t max_answers = std::size_t{32} * 1024;

}  // namespace

// ---- the records of a block

Result<std::size_t> FaultServer::Feed::read(std::span<Record> into) {
    const std::lock_guard lock(mutex_);
    const std::size_t count = std::min(into.size(), unread_.size());
    std::copy_n(unread_.begin(), count, into.begin());
    unread_.erase(unread_.begin(), unread_.begin() + static_cast<std::ptrdiff_t>(count));
    if (unread_.empty())
        readable_.clear();
    if (count > 0 && std::exchange(full_, false))
        room_.signal();
    return count;
}

Result<Stats> FaultServer::Feed::stats() {
    const std::lock_guard lock(mutex_);
    Stats stats = stats_;
    stats.pages = pages_;
    stats.waiting = full_ ? 1 : 0;
    return stats;
}

bool FaultServer::Feed::push(std::uint64_t page, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    if (unread_.size() >= max_unread_) {
        full_ = true;
        return false;
    }
    unread_.push_back({.page = page,
                       .time_ns = static_cast<std::uint64_t>(now.time_since_epoch() / 1ns),
                       .tid = 0,
                       .kind = Kind::any});
    ++stats_.records;
    ++stats_.touched;
    return true;
}

void FaultServer::Feed::add_blocked(Clock::duration time) {
    const std::lock_guard lock(mutex_);
    ++stats_.blocked;
    stats_.blocked_ns += static_cast<std::uint64_t>(time / 1ns);
}

void FaultServer::Feed::notify() const {
    const std::lock_guard lock(mutex_);
    if (!unread_.empty())
        readable_.signal();
}

// ---- the server

Result<std::unique_ptr<FaultServer>> FaultServer::create(image::SourceImage image,
                                                         std::uint32_t max_unread) {
    GC_TRY(Waker waker, Waker::create());
    std::unique_ptr<FaultServer> server(new FaultServer(std::move(image), std::move(waker)));
    for (const image::ImageBlock& block : server->image_.blocks()) {
        GC_TRY(Waker readable, Waker::create());
        server->feeds_.push_back(std::make_unique<Feed>(block.length / page_size, max_unread,
                                                        std::move(readable), server->waker_));
    }
    return server;
}

std::vector<BlockRecords> FaultServer::feeds() {
    std::vector<BlockRecords> feeds;
    for (std::size_t i = 0; i < feeds_.size(); ++i)
        feeds.push_back({image_.blocks()[i].name, feeds_[i].get()});
    return feeds;
}

void FaultServer::start(UniqueFd socket, stream::GuideState state, PageOrigin& origin,
                        const Waker& failed, std::optional<GuidePlace> place) {
    socket_ = std::move(socket);
    state_ = std::move(state);
    origin_ = &origin;
    failed_ = &failed;
    place_ = std::move(place);
    for (const stream::GuideState::Block& block : state_.blocks) {
        const std::size_t image = image_.find(block.name);
        blocks_.push_back(
            {block.name, block.length / page_size, image,
             place_ && image != image::SourceImage::none ? place_->addresses[image] : 0,
             std::vector<bool>(block.length / page_size)});
    }
    received_.reserve(2 * read_size);
    room_.resize(neighbours * page_size);
    thread_ = std::thread([this] {
        const Result<void> done = guarded([this] { return run(); });
        if (done || stopping_)
            return;
        {
            const std::lock_guard lock(error_mutex_);
            error_ = done.error();
        }
        failed_->signal();
    });
}

void FaultServer::stop() {
    stopping_ = true;
    waker_.signal();
    if (!thread_.joinable())
        return;
    // A write to a guide that is stuck ends, too.
    ::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
}

std::optional<Error> FaultServer::error() const {
    const std::lock_guard lock(error_mutex_);
    return error_;
}

Result<void> FaultServer::run() {
    GC_CHECK(send_state());
    while (!stopping_) {
        const Ready ready = wait();
        if (ready.woken) {
            waker_.clear();
            GC_CHECK(give_offered());
            GC_CHECK(retry_parked());
        }
        if (ready.faults)
            GC_CHECK(read_faults());
        if (ready.requests) {
            GC_CHECK(read_requests());
            take_memory();
        }
        GC_CHECK(flush());
        if (pushed_ >= notify_count || !parked_.empty() ||
            (pushed_ > 0 && Clock::now() - pushed_at_ >= notify_delay))
            notify_feeds();
    }
    return {};
}

void FaultServer::take_memory() {
    if (!place_)
        return;
    // Without it, QEMU's requests are all there is.
    if (auto memory = GuideMemory::take(*place_))
        memory_.emplace(std::move(*memory));
    place_.reset();
}

Result<void> FaultServer::read_faults() {
    GC_TRY(const auto faults, memory_->read());
    for (const std::uint64_t address : faults) {
        std::size_t number = 0;
        std::uint64_t page = 0;
        for (; number < blocks_.size(); ++number) {
            const Block& block = blocks_[number];
            page = (address - block.address) / page_size;
            if (block.address != 0 && address >= block.address && page < block.pages)
                break;
        }
        if (number == blocks_.size()) {
            // A ROM, whose address is not known (qmp::Backing::unknown): the thread faults again,
            // and QEMU tells the block's name.
            left_to_qemu_ = Clock::now() + qemu_turn;
            memory_->repeat(address);
        } else if (blocks_[number].answered[page]) {
            memory_->repeat(address);
        } else {
            GC_CHECK(handle(number, page));
        }
    }
    return {};
}

Result<void> FaultServer::send_state() {
    const stream::Buffer stream = stream::postcopy_guide_stream(state_);
    GC_CHECK(write_all(socket_.get(), stream));
    state_.devices = {};
    return {};
}

FaultServer::Ready FaultServer::wait() {
    const auto now = Clock::now();
    const bool reads_faults = memory_ && now >= left_to_qemu_;
    std::array<pollfd, 3> waits{{{socket_.get(), POLLIN, 0},
                                 {waker_.fd(), POLLIN, 0},
                                 {reads_faults ? memory_->fd() : -1, POLLIN, 0}}};
    auto end = Clock::time_point::max();
    if (pushed_ > 0)
        end = pushed_at_ + notify_delay;
    if (memory_ && !reads_faults)
        end = std::min(end, left_to_qemu_);
    timespec timeout{};
    if (end != Clock::time_point::max())
        timeout.tv_nsec = std::max<long>(0, (end - now) / 1ns);
    // poll(2) counts milliseconds.
    (void)::ppoll(waits.data(), waits.size(), end != Clock::time_point::max() ? &timeout : nullptr,
                  nullptr);
    return {waits[0].revents != 0, waits[1].revents != 0, waits[2].revents != 0};
}

Result<void> FaultServer::read_requests() {
    const std::size_t kept = received_.size();
    received_.resize(kept + read_size);
    GC_TRY(const std::size_t got, read_some(socket_.get(), std::span(received_).subspan(kept)));
    if (got == 0)
        return fail(ErrorKind::io, "the guide closed its migration socket");
    received_.resize(kept + got);
    std::span<const std::byte> input = received_;
    for (;;) {
        GC_TRY(const auto message, reader_.next(input));
        if (!message)
            break;
        if (const auto* request = std::get_if<stream::PageRequest>(&*message))
            GC_CHECK(handle(*request));
        else if (const auto* shut = std::get_if<stream::ShutMessage>(&*message))
            return fail(ErrorKind::io, "the guide ended its migration with status {}",
                        shut->status);
    }
    received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(
                                                               received_.size() - input.size()));
    return {};
}

Result<void> FaultServer::handle(const stream::PageRequest& request) {
    // QEMU names a block only when it changes.
    if (blocks_[last_block_].name != request.block)
        last_block_ = static_cast<std::size_t>(
            std::ranges::find(blocks_, request.block, &Block::name) - blocks_.begin());
    const std::uint64_t first = request.start / page_size;
    const std::uint64_t count = request.length / page_size;
    if (last_block_ == blocks_.size() || count > blocks_[last_block_].pages ||
        first > blocks_[last_block_].pages - count) {
        last_block_ = 0;
        return fail(ErrorKind::protocol,
                    "the guide requested 0x{:x} bytes at 0x{:x} of RAM block '{}', which the VM "
                    "does not have",
                    request.length, request.start, request.block);
    }
    for (std::uint64_t page = first; page < first + count; ++page)
        GC_CHECK(handle(last_block_, page));
    return {};
}

Result<void> FaultServer::handle(std::size_t block, std::uint64_t page) {
    // A request may cross an answer that was not waited for. QEMU fails on a page that comes twice.
    if (blocks_[block].answered[page])
        return {};
    GC_TRY(const Answer answer, try_answer(block, page));
    if (answer != Answer::given)
        parked_.push_back({block, page, Clock::now(), answer == Answer::no_room});
    return {};
}

void FaultServer::offer(std::size_t block, std::uint64_t page) {
    {
        const std::lock_guard lock(offers_mutex_);
        if (offers_.size() == max_offers)
            return;
        offers_.push_back({block, page});
    }
    waker_.signal();
}

Result<void> FaultServer::give_offered() {
    std::vector<Offer> offers;
    {
        const std::lock_guard lock(offers_mutex_);
        offers.swap(offers_);
    }
    for (const auto& [block, page] : offers)
        if (blocks_[block].image != image::SourceImage::none && !blocks_[block].answered[page])
            GC_CHECK(append_image_pages(block, page, 1));
    return {};
}

Result<void> FaultServer::retry_parked() {
    // Once: what cannot be answered now is parked again.
    for (std::size_t left = parked_.size(); left > 0; --left) {
        const Parked parked = parked_.front();
        parked_.pop_front();
        if (blocks_[parked.block].answered[parked.page])
            continue;
        GC_TRY(const Answer answer, try_answer(parked.block, parked.page));
        if (answer != Answer::given)
            parked_.push_back(parked);
        else if (parked.lead)
            feeds_[blocks_[parked.block].image]->add_blocked(Clock::now() - parked.since);
    }
    return {};
}

Result<FaultServer::Answer> FaultServer::try_answer(std::size_t number, std::uint64_t page) {
    Block& block = blocks_[number];
    if (block.image == image::SourceImage::none) {
        const auto into = std::span(room_).first(page_size);
        GC_TRY(const auto found, origin_->find(number, page, into));
        if (found == PageOrigin::Found::later)
            return Answer::no_page;
        GC_CHECK(give_page(number, page,
                           found == PageOrigin::Found::zero ? image::PageContent()
                                                            : image::PageContent(into)));
        return Answer::given;
    }
    if (origin_->delivered(number, page)) {
        origin_->touched(number, page);
        GC_CHECK(append_image_pages(number, page, 1));
        GC_CHECK(answer_neighbours(number, page));
        return Answer::given;
    }
    const auto now = Clock::now();
    if (!feeds_[block.image]->push(page, now))
        return Answer::no_room;
    if (pushed_++ == 0)
        pushed_at_ = now;
    GC_CHECK(append_image_pages(number, page, 1));
    return Answer::given;
}

Result<void> FaultServer::answer_neighbours(std::size_t number, std::uint64_t page) {
    const Block& block = blocks_[number];
    if (page == 0 || !block.answered[page - 1])
        return {};
    const std::uint64_t limit = std::min(block.pages, page + neighbours);
    std::uint64_t end = page + 1;
    while (end < limit && !block.answered[end] && origin_->delivered(number, end))
        ++end;
    return append_image_pages(number, page + 1, end - page - 1);
}

Result<void> FaultServer::append_image_pages(std::size_t number, std::uint64_t first,
                                             std::size_t count) {
    if (count == 0)
        return {};
    std::array<image::PageContent, neighbours> contents;
    const auto wanted = std::span(contents).first(count);
    GC_CHECK(image_.read(blocks_[number].image, first, wanted, room_));
    for (std::size_t i = 0; i < count; ++i)
        GC_CHECK(give_page(number, first + i, wanted[i]));
    return answers_.size() >= max_answers ? flush() : Result<void>{};
}

Result<void> FaultServer::give_page(std::size_t number, std::uint64_t page,
                                    const image::PageContent& content) {
    Block& block = blocks_[number];
    block.answered[page] = true;
    if (memory_ && block.address != 0)
        return memory_->place(block.address + page * page_size, content);
    if (answers_.empty())
        stream::append_section_part(answers_, state_.ram_section);
    stream::append_page_head(answers_, page * page_size, block.name, !content);
    if (content)
        stream::append(answers_, *content);
    return {};
}

Result<void> FaultServer::flush() {
    if (answers_.empty())
        return {};
    stream::append_end_of_ram(answers_);
    stream::append_section_footer(answers_, state_.ram_section);
    GC_CHECK(write_all(socket_.get(), answers_));
    answers_.clear();
    return {};
}

void FaultServer::notify_feeds() {
    for (const auto& feed : feeds_)
        feed->notify();
    pushed_ = 0;
}

}  // namespace gc::capture

// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/sending.h"

#include "util/guarded.h"
#include "util/page.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gc::recover {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// A page that the VM waits for comes after at most so much.
constexpr std::uint64_t batch_pages = 32;
/// Limits a frame. A host page of the destination may take several.
constexpr std::uint64_t frame_pages = 256;
constexpr std::size_t max_requests = std::size_t{1} << 20;

}  // namespace

Sending::~Sending() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    link_.shut_down();
    if (listener_.joinable())
        listener_.join();
}

Result<void> Sending::run(const std::string& id) {
    GC_CHECK(agree(id));
    if (done_before_)
        return {};
    listener_ = std::thread([this] { listen(); });
    auto done = [&]() -> Result<void> {
        GC_CHECK(fetch());
        return send_all();
    }();
    const std::lock_guard lock(mutex_);
    if (completed_)
        return {};
    // The thread that receives knows why the connection ended.
    return lost_ ? done : lost_;
}

// ---- what both have

Result<Frame> Sending::expect(FrameKind kind, Deadline deadline) {
    for (;;) {
        GC_TRY(auto frame, link_.receive(deadline));
        if (!frame)
            return fail(ErrorKind::io, "the destination did not answer in time");
        if (frame->kind == FrameKind::refused)
            return fail(ErrorKind::unsupported, "the destination refused: {}", frame->text());
        if (frame->kind == kind)
            return std::move(*frame);
        if (frame->kind != FrameKind::alive)
            return fail(ErrorKind::protocol, "unexpected frame of kind {} from the destination",
                        static_cast<unsigned>(frame->kind));
    }
}

Result<void> Sending::agree(const std::string& id) {
    GC_CHECK(link_.send_line(hello(id)));
    const Description here{id, source_.uuid(), source_.ended(), source_.blocks()};
    GC_CHECK(link_.send(FrameKind::description, encode(here)));
    const auto frame = expect(FrameKind::description, dead_after);
    if (!frame && frame.error().kind == ErrorKind::io)
        return fail(ErrorKind::io,
                    "expected 'gcctl recover receive', and not a 'gcctl receive' that still runs: "
                    "{}",
                    frame.error().message);
    if (!frame)
        return Unexpected(frame.error());
    GC_TRY(const Description there, decode_description(frame->body));
    if (auto checked = check(there, id); !checked) {
        (void)link_.send(FrameKind::refused, checked.error().message);
        return checked;
    }
    blocks_ = there.blocks;
    done_before_ = there.completed;
    return done_before_ ? Result<void>{} : take_bitmaps();
}

Result<void> Sending::check(const Description& there, const std::string& id) const {
    if (!id.empty() && !there.id.empty() && there.id != id)
        return fail(ErrorKind::unsupported,
                    "this is migration {}, but the destination QEMU there is of migration {}", id,
                    there.id);
    if (there.uuid != source_.uuid())
        return fail(ErrorKind::unsupported, "the VM here has UUID {}, the one there has UUID {}",
                    source_.uuid(), there.uuid);
    for (const Block& block : there.blocks) {
        const auto found = std::ranges::find(source_.blocks(), block.name, &Block::name);
        if (found == source_.blocks().end() || found->pages != block.pages)
            return fail(ErrorKind::unsupported,
                        "RAM block '{}' of the destination QEMU is not in the source QEMU with the "
                        "same size: is it another VM?",
                        block.name);
    }
    return {};
}

Result<void> Sending::take_bitmaps() {
    there_.clear();
    for (std::size_t index = 0; index < blocks_.size(); ++index) {
        GC_TRY(const Frame frame, expect(FrameKind::bitmap, dead_after));
        const auto body = std::span(frame.body);
        const std::size_t bytes = (blocks_[index].pages + 63) / 64 * 8;
        if (body.size() != 2 + bytes)
            return fail(ErrorKind::protocol, "expected a bitmap of {} bytes, found {}", bytes,
                        body.size());
        there_.emplace_back(blocks_[index].pages, body.subspan(2));
    }
    return {};
}

Result<void> Sending::fetch() {
    std::set<FrozenSource::PageId> wanted;
    for (std::size_t index = 0; index < blocks_.size(); ++index) {
        if (source_.is_guest_ram(blocks_[index].name))
            continue;
        const PageSet& there = there_[index];
        for (std::uint64_t page = there.next_missing(0); page < there.pages();
             page = there.next_missing(page + 1))
            wanted.emplace(blocks_[index].name, page);
    }
    return source_.fetch(wanted);
}

// ---- receiving

void Sending::listen() {
    Result<void> end = guarded([this]() -> Result<void> {
        Clock::time_point heard = Clock::now();
        for (Clock::time_point said{};;) {
            if (Clock::now() - said >= alive_interval) {
                GC_CHECK(link_.send(FrameKind::alive));
                said = Clock::now();
            }
            GC_TRY(const auto frame, link_.receive(alive_interval / 2));
            if (frame) {
                heard = Clock::now();
                GC_CHECK(take(*frame));
            } else if (Clock::now() - heard > dead_after) {
                return fail(ErrorKind::io, "the destination was silent for {} s",
                            dead_after.count());
            }
            const std::lock_guard lock(mutex_);
            if (completed_ || stopping_)
                return {};
        }
    });
    const std::lock_guard lock(mutex_);
    lost_ = std::move(end);
    stopping_ = true;
    // A write of the other thread that waits for a dead network ends with it.
    link_.shut_down();
    changed_.notify_all();
}

Result<void> Sending::take(const Frame& frame) {
    switch (frame.kind) {
    case FrameKind::request: {
        GC_TRY(const Request request, decode_request(frame.body));
        if (request.block >= blocks_.size() || request.first > blocks_[request.block].pages ||
            request.count > blocks_[request.block].pages - request.first)
            return fail(ErrorKind::protocol, "the destination requested pages that do not exist");
        const std::lock_guard lock(mutex_);
        if (requests_.size() >= max_requests)
            return fail(ErrorKind::protocol, "the destination sends too many requests");
        requests_.push_back(request);
        changed_.notify_all();
        return {};
    }
    case FrameKind::completed: {
        const std::lock_guard lock(mutex_);
        completed_ = true;
        return {};
    }
    case FrameKind::refused:
        return fail(ErrorKind::unsupported, "the destination refused: {}", frame.text());
    case FrameKind::alive:
        return {};
    default:
        return fail(ErrorKind::protocol, "unexpected frame of kind {} from the destination",
                    static_cast<unsigned>(frame.kind));
    }
}

// ---- sending

std::uint64_t Sending::missing() const {
    return recover::missing(there_);
}

Result<void> Sending::send_all() {
    for (bool told = false;;) {
        const auto asked = next();
        const auto request = asked ? asked : next_unasked();
        if (request) {
            GC_CHECK(serve(*request, asked.has_value()));
            continue;
        }
        if (!told && missing() == 0) {
            GC_CHECK(link_.send(FrameKind::all_sent));
            told = true;
        }
        std::unique_lock lock(mutex_);
        if (completed_ || stopping_)
            return {};
        const auto wait = missing() == 0 ? 1s : pacer_.wait(Clock::now());
        changed_.wait_for(lock, wait, [this] { return stopping_ || !requests_.empty(); });
    }
}

std::optional<Request> Sending::next() {
    const std::lock_guard lock(mutex_);
    if (stopping_ || requests_.empty())
        return std::nullopt;
    const Request request = requests_.front();
    requests_.pop_front();
    return request;
}

/// After a request, from its place on: what the VM uses lies close together.
std::optional<Request> Sending::next_unasked() {
    {
        const std::lock_guard lock(mutex_);
        if (stopping_)
            return std::nullopt;
    }
    if (missing() == 0 || pacer_.wait(Clock::now()) > Clock::duration::zero())
        return std::nullopt;
    // ROMs and video memory first, for only the source QEMU itself has them.
    for (std::size_t index = 0; index < blocks_.size(); ++index)
        if (!source_.is_guest_ram(blocks_[index].name) && there_[index].missing() > 0) {
            block_ = index;
            page_ = 0;
        }
    while (there_[block_].missing() == 0) {
        block_ = (block_ + 1) % blocks_.size();
        page_ = 0;
    }
    std::uint64_t first = there_[block_].next_missing(page_);
    if (first == blocks_[block_].pages)
        first = there_[block_].next_missing(0);
    const std::uint64_t count = std::min(batch_pages, blocks_[block_].pages - first);
    page_ = first + count;
    return Request{static_cast<std::uint16_t>(block_), first, static_cast<std::uint32_t>(count)};
}

Result<void> Sending::serve(const Request& request, bool asked) {
    const std::uint64_t granule = blocks_[request.block].granule;
    const std::uint64_t first = request.first / granule * granule;
    const std::uint64_t end = (request.first + request.count + granule - 1) / granule * granule;
    GC_CHECK(send_pages(request.block, first, end));
    if (asked && source_.is_guest_ram(blocks_[request.block].name)) {
        block_ = request.block;
        page_ = end;
    }
    return {};
}

Result<void> Sending::send_pages(std::size_t block, std::uint64_t first, std::uint64_t end) {
    std::array<std::byte, page_size> room{};
    PageSet& there = there_[block];
    for (std::uint64_t page = there.next_missing(first); page < end;) {
        std::vector<std::byte> body;
        append_pages_head(body, {source_.section(), static_cast<std::uint16_t>(block)});
        for (std::uint64_t count = 0; count < frame_pages && page < end; ++count) {
            const auto bytes = source_.read({blocks_[block].name, page}, room);
            if (!bytes)  // not the connection's fault
                return fail(ErrorKind::unsupported, "{}", bytes.error().message);
            append_page(body, {page, *bytes});
            there.add(page);
            ++sent_;
            page = there.next_missing(page);
        }
        pacer_.spend(body.size(), Clock::now());
        GC_CHECK(link_.send(FrameKind::pages, body));
    }
    return {};
}

}  // namespace gc::recover

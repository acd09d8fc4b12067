// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/stream_merger.h"

#include "util/guarded.h"

#include <algorithm>
#include <array>
#include <sys/socket.h>
#include <utility>

namespace gc::receive {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{256} * 1024;
/// Send buffer towards the destination QEMU from switch-over on. Each page waits for everything
/// before it, and zero markers take few bytes in the buffer but long to place.
constexpr int postcopy_buffer_bytes = 32 * 1024;

}  // namespace

StreamMerger::~StreamMerger() {
    end_all();
    // A thread may be writing an acknowledgement to it, and there may be no connection.
    bulk_.shut_down();
    for (std::thread* thread : {&main_thread_, &bulk_thread_})
        if (thread->joinable())
            thread->join();
}

Result<void> StreamMerger::begin(std::size_t size) {
    // A frame of any kind: at an early switch-over a single frame holds everything before it.
    do {
        GC_TRY(const bool any, peer::read_head(main_, first_));
        if (!any)
            return fail(ErrorKind::io,
                        "the source closed the main channel before the stream began");
        if (first_.size == 0)
            return fail(ErrorKind::protocol,
                        "expected QEMU's stream on the main channel, found an empty frame");
        const std::size_t now = std::min(size, first_.size);
        GC_CHECK(copy(now, nullptr));
        first_.size -= now;
        size -= now;
    } while (size > 0);
    return {};
}

void StreamMerger::start(std::size_t head) {
    head_ = head;
    main_thread_ = std::thread([this] {
        run(&StreamMerger::carry_main);
        end_all();
    });
    bulk_thread_ = std::thread([this] { run(&StreamMerger::carry_bulk); });
}

void StreamMerger::run(Result<void> (StreamMerger::*body)()) {
    const Result<void> done = guarded([&] { return (this->*body)(); });
    if (done)
        return;
    bool first = false;
    {
        const std::lock_guard lock(mutex_);
        // What fails after the end of the stream, fails because of end_all().
        first = !std::exchange(broken_, true) && !stream_ended_;
    }
    if (first && taps_.broke)
        taps_.broke(done.error());
    end_all();
}

Result<void> StreamMerger::carry_main() {
    GC_CHECK(begin(head_));
    if (taps_.begun)
        taps_.begun();
    peer::FrameHead head = first_;
    bool precopy = true;
    do {
        const bool sections = head.kind == peer::FrameKind::sections;
        const bool ends_precopy =
            head.kind != peer::FrameKind::stream && std::exchange(precopy, false);
        // Not during pre-copy: nobody waits for a page, and a larger buffer is more efficient.
        if (ends_precopy)
            ::setsockopt(to_.fd(), SOL_SOCKET, SO_SNDBUF, &postcopy_buffer_bytes,
                         sizeof postcopy_buffer_bytes);
        if (head.kind == peer::FrameKind::last)
            await_bulk_end();
        take_turn_for_main();
        const auto copied =
            copy(head.size, sections && !ends_precopy ? taps_.sections : Tap(nullptr));
        if (copied && sections && ends_precopy && taps_.switched_over)
            taps_.switched_over();
        give_turn(sections);
        GC_CHECK(copied);
        if (head.kind == peer::FrameKind::last)
            return {};
        GC_TRY(const bool more, peer::read_head(main_, head));
        if (!more)
            return {};
    } while (true);
}

Result<void> StreamMerger::carry_bulk() {
    std::vector<std::byte> frame;
    for (;;) {
        peer::FrameHead head;
        GC_TRY(const bool more, peer::read_head(bulk_, head));
        if (!more)
            break;
        if ((head.kind != peer::FrameKind::sections && head.kind != peer::FrameKind::split) ||
            head.size > peer::max_bulk_frame)
            return fail(ErrorKind::protocol,
                        "expected sections of at most {} bytes on the bulk channel, got a frame of "
                        "kind {} and {} bytes",
                        peer::max_bulk_frame, static_cast<unsigned>(head.kind), head.size);
        // Read the whole frame before taking the turn: main must not wait for this channel.
        frame.resize(head.size);
        GC_TRY(const bool whole, bulk_.read_whole(frame));
        if (!whole && head.size > 0)
            return fail(ErrorKind::io, "the bulk channel ended within a frame");
        GC_TRY(const auto parts, peer::parts_of(head.kind, frame));
        if (!take_turn_for_bulk())
            return {};
        const auto forwarded = forward(parts, taps_.sections);
        give_turn(true);
        GC_CHECK(forwarded);
        // Best effort: the sender may already be gone.
        (void)bulk_.write(peer::frame_taken);
    }
    const std::lock_guard lock(mutex_);
    bulk_ended_ = true;
    changed_.notify_all();
    return {};
}

Result<void> StreamMerger::copy(std::size_t size, const Tap& tap) {
    buffer_.resize(chunk_bytes);
    while (size > 0) {
        const auto room = std::span(buffer_).first(std::min(size, buffer_.size()));
        GC_TRY(const std::size_t got, main_.read_some(room));
        if (got == 0)
            return fail(ErrorKind::io, "the main channel ended within a frame");
        const std::span<const std::byte> part = room.first(got);
        GC_CHECK(forward(std::span(&part, 1), tap));
        size -= got;
    }
    return {};
}

Result<void> StreamMerger::forward(std::span<const std::span<const std::byte>> parts,
                                   const Tap& tap) const {
    std::vector<iovec> vector;
    vector.reserve(parts.size());
    for (const std::span<const std::byte> part : parts)
        vector.push_back({const_cast<std::byte*>(part.data()), part.size()});
    GC_CHECK(to_.write(vector));
    if (tap)
        for (const std::span<const std::byte> part : parts)
            tap(part);
    return {};
}

void StreamMerger::await_bulk_end() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return bulk_ended_ || stream_ended_; });
}

void StreamMerger::take_turn_for_main() {
    std::unique_lock lock(mutex_);
    main_waits_ = true;
    changed_.wait(lock, [this] { return !taken_; });
    main_waits_ = false;
    taken_ = true;
}

bool StreamMerger::take_turn_for_bulk() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stream_ended_ || (boundary_ && !taken_ && !main_waits_); });
    if (stream_ended_)
        return false;
    taken_ = true;
    return true;
}

void StreamMerger::give_turn(bool boundary) {
    const std::lock_guard lock(mutex_);
    taken_ = false;
    boundary_ = boundary;
    changed_.notify_all();
}

void StreamMerger::end_all() {
    {
        const std::lock_guard lock(mutex_);
        stream_ended_ = true;
        changed_.notify_all();
    }
    to_.end_writing();
    // Nobody reads these any more. Their writers must get an error instead of filling a buffer.
    main_.end_reading();
    bulk_.end_reading();
}

}  // namespace gc::receive

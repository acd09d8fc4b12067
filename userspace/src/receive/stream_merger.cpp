// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/stream_merger.h"

#include "util/guarded.h"
#include "util/socket.h"

#include <algorithm>
#include <array>
#include <linux/sockios.h>
#include <optional>
#include <sys/ioctl.h>  // TIOCOUTQ, which SIOCOUTQ is
#include <sys/socket.h>
#include <utility>

namespace gc::receive {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{256} * 1024;
/// Send buffer towards the destination QEMU from switch-over on. Each page waits for everything
/// before it, and zero markers take few bytes in the buffer but long to place.
constexpr int postcopy_buffer_bytes = 32 * 1024;
const Tap no_tap;

}  // namespace

StreamMerger::~StreamMerger() {
    end_all();
    // A thread may be writing an acknowledgement to it, and there may be no connection.
    bulk_.shut_down();
    for (std::thread* thread : {&main_thread_, &bulk_thread_, &zeros_thread_})
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
        if (first_.kind == peer::FrameKind::compressed)
            return fail(ErrorKind::protocol,
                        "expected the head of QEMU's stream as it is, found a compressed frame");
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
    if (zeros_ != nullptr)
        zeros_thread_ = std::thread([this] { run(&StreamMerger::carry_zeros); });
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
        std::optional<std::span<const std::byte>> content;  // of a frame that was read whole
        if (head.kind == peer::FrameKind::compressed) {
            GC_TRY(head.kind, main_frames_.read(main_, head.size));
            content = main_frames_.content();
        }
        const bool sections = head.kind == peer::FrameKind::sections;
        const bool ends_precopy =
            head.kind != peer::FrameKind::stream && std::exchange(precopy, false);
        // Not during pre-copy: nobody waits for a page, and a larger buffer is more efficient.
        if (ends_precopy)
            ::setsockopt(to_.fd(), SOL_SOCKET, SO_SNDBUF, &postcopy_buffer_bytes,
                         sizeof postcopy_buffer_bytes);
        if (head.kind == peer::FrameKind::split || head.kind == peer::FrameKind::zeros)
            return fail(ErrorKind::protocol,
                        "expected QEMU's stream on the main channel, got a frame of kind {}",
                        static_cast<unsigned>(head.kind));
        // A stream that broke must not look to QEMU as if it were complete.
        if (head.kind == peer::FrameKind::last && !await_others())
            return fail(ErrorKind::io, "the stream broke before its end");
        (void)take_turn(Writer::main);
        const Tap& tap = sections && !ends_precopy ? taps_.sections : no_tap;
        const auto copied = content ? forward(std::span(&*content, 1), tap) : copy(head.size, tap);
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
        const bool zeros = head.kind == peer::FrameKind::zeros && zeros_ != nullptr;
        if ((head.kind != peer::FrameKind::sections && head.kind != peer::FrameKind::split &&
             head.kind != peer::FrameKind::compressed && !zeros) ||
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
        if (zeros) {
            GC_CHECK(zeros_->told(frame));
            continue;
        }
        std::span<const std::byte> content = frame;
        if (head.kind == peer::FrameKind::compressed) {
            GC_TRY(head.kind, bulk_frames_.unpack(frame));
            if (head.kind != peer::FrameKind::sections)
                return fail(ErrorKind::protocol,
                            "expected sections on the bulk channel, got a compressed frame of kind "
                            "{}",
                            static_cast<unsigned>(head.kind));
            content = bulk_frames_.content();
        }
        GC_TRY(const auto parts, peer::parts_of(head.kind, content));
        if (!take_turn(Writer::bulk))
            return {};
        const auto forwarded = forward(parts, taps_.sections);
        give_turn(true);
        GC_CHECK(forwarded);
        // Best effort: the sender may already be gone.
        (void)bulk_.write(peer::frame_taken);
    }
    if (zeros_ != nullptr)
        zeros_->told_all();
    const std::lock_guard lock(mutex_);
    bulk_ended_ = true;
    changed_.notify_all();
    return {};
}

Result<void> StreamMerger::carry_zeros() {
    while (zeros_->await_work()) {
        if (!take_turn(Writer::zeros))
            return {};
        // Whatever comes now waits for what QEMU has not read yet.
        if (!zeros_->hurried() && queued_bytes(to_.fd(), SIOCOUTQ) > 0) {
            give_turn(true);
            zeros_->rest();
            continue;
        }
        // Taken now and not before: a page in hand is one that a request does not find.
        const ZeroPlacer::Portion portion = zeros_->take();
        const std::span<const std::byte> section = portion.section;
        const auto forwarded =
            section.empty() ? Result<void>{} : forward(std::span(&section, 1), taps_.sections);
        give_turn(true);
        GC_CHECK(forwarded);
        zeros_->placed(portion.pages);
    }
    return {};
}

Result<void> StreamMerger::give(std::span<const std::byte> section) {
    if (!take_turn(Writer::requested))
        return fail(ErrorKind::io, "the stream has ended");
    auto forwarded = forward(std::span(&section, 1), taps_.sections);
    give_turn(true);
    return forwarded;
}

Result<void> StreamMerger::copy(std::size_t size, const Tap& tap) {
    buffer_.resize(buffer_bytes);
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

bool StreamMerger::await_others() {
    {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return bulk_ended_ || stream_ended_; });
        if (stream_ended_)
            return false;
    }
    return zeros_ == nullptr || zeros_->await_placed();
}

bool StreamMerger::is_turn_of(Writer writer) const {
    if (taken_)
        return false;
    switch (writer) {
    case Writer::main:
        return true;
    case Writer::requested:
        return boundary_;
    case Writer::bulk:
        return boundary_ && !waits(Writer::main) && !waits(Writer::requested);
    case Writer::zeros:
        break;
    }
    return boundary_ && !waits(Writer::main) && !waits(Writer::requested) &&
           (!waits(Writer::bulk) || (last_ == Writer::bulk && zeros_->hurried()));
}

bool StreamMerger::take_turn(Writer writer) {
    std::unique_lock lock(mutex_);
    unsigned& waiting = waiting_[static_cast<std::size_t>(writer)];
    ++waiting;
    changed_.wait(lock, [this, writer] {
        return (stream_ended_ && writer != Writer::main) || is_turn_of(writer);
    });
    --waiting;
    if (stream_ended_ && writer != Writer::main)
        return false;
    taken_ = true;
    last_ = writer;
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
    if (zeros_ != nullptr)
        zeros_->stop();
    to_.end_writing();
    // Nobody reads these any more. Their writers must get an error instead of filling a buffer.
    main_.end_reading();
    bulk_.end_reading();
}

}  // namespace gc::receive

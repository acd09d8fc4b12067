// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/urgent_relay.h"

#include "stream/reader.h"
#include "util/guarded.h"

namespace gc::receive {
namespace {

/// QEMU would take the block of a page without a name from the record before, which may be one of
/// give().
bool is_named(const stream::Item& item) {
    if (const auto* page = std::get_if<stream::RamPage>(&item))
        return page->named;
    if (const auto* zero = std::get_if<stream::RamZero>(&item))
        return zero->named;
    return true;
}

}  // namespace

UrgentRelay::UrgentRelay(peer::Channel& from, peer::Connection& to, UrgentTaps taps,
                         UrgentForm form)
    : from_(from), to_(to), taps_(std::move(taps)), form_(form), thread_([this] {
          if (const auto done = guarded([this] { return carry(); }); !done)
              taps_.broke(done.error());
          to_.end_writing();
          // Its writer must get an error instead of filling a buffer that nobody reads.
          from_.end_reading();
      }) {}

UrgentRelay::~UrgentRelay() {
    stop();
    thread_.join();
}

void UrgentRelay::stop() const {
    from_.end_reading();
    to_.shut_down();
}

Result<void> UrgentRelay::carry() {
    stream::Reader reader(stream::Start::records);
    for (;;) {
        GC_TRY(const bool more, read());
        if (!more)
            return {};
        std::span<const std::byte> input = buffer_.bytes();
        std::span<const std::byte> ready = input;  // from the first record that was not written on
        for (;;) {
            const std::size_t before = input.size();
            GC_TRY(const auto item, reader.next(input));
            if (!item)
                break;
            if (form_.named && !is_named(*item))
                return fail(ErrorKind::protocol,
                            "expected each page on the urgent channel to name its RAM block");
            if (!std::holds_alternative<stream::EndOfRam>(*item))
                continue;
            GC_CHECK(write(ready.first(ready.size() - before)));
            ready = ready.last(before);
            if (!taps_.await_end())
                return {};
        }
        GC_CHECK(write(ready.first(ready.size() - input.size())));
        buffer_.keep(input.size());
    }
}

Result<bool> UrgentRelay::read() {
    if (form_.framed)
        return read_frame();
    GC_TRY(const std::size_t got,
           buffer_.fill_with([this](auto room) { return from_.read_some(room); }));
    return got > 0;
}

Result<bool> UrgentRelay::read_frame() {
    peer::FrameHead head;
    GC_TRY(const bool more, peer::read_head(from_, head));
    if (!more)
        return false;
    auto kind = head.kind;
    if (kind == peer::FrameKind::compressed) {
        GC_TRY(kind, unpacker_.read(from_, head.size));
    }
    if (kind != peer::FrameKind::stream || head.size > peer::max_bulk_frame)
        return fail(ErrorKind::protocol,
                    "expected pages of at most {} bytes on the urgent channel, got a frame of kind "
                    "{} and {} bytes",
                    peer::max_bulk_frame, static_cast<unsigned>(kind), head.size);
    if (head.kind == peer::FrameKind::compressed) {
        buffer_.append(unpacker_.content());
        return true;
    }
    frame_.resize(head.size);
    GC_TRY(const bool whole, from_.read_whole(frame_));
    if (!whole && head.size > 0)
        return fail(ErrorKind::io, "the urgent channel ended within a frame");
    buffer_.append(frame_);
    return true;
}

Result<void> UrgentRelay::give(std::span<const std::byte> record) {
    return write(record);
}

Result<void> UrgentRelay::write(std::span<const std::byte> records) {
    if (records.empty())
        return {};
    const std::lock_guard lock(mutex_);
    GC_CHECK(to_.write(records));
    taps_.given(records);
    return {};
}

}  // namespace gc::receive

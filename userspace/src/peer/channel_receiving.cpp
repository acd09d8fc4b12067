// SPDX-License-Identifier: GPL-2.0-or-later
// The part of a channel that reads.
#include "peer/channel.h"

#include "util/poll.h"
#include "util/read_whole.h"

#include <algorithm>
#include <array>

namespace gc::peer {

using namespace std::chrono_literals;

Result<std::size_t> Channel::read_some(std::span<std::byte> into) {
    if (raw_)
        return raw_->read_some(into);
    GC_TRY(const auto got, read(into, Wait::yes));
    return got.value_or(0);
}

Result<std::optional<std::size_t>> Channel::read_available(std::span<std::byte> into) {
    if (raw_)
        return raw_->read_available(into);
    return read(into, Wait::no);
}

Result<bool> Channel::read_whole(std::span<std::byte> into) {
    return read_whole_with([this](auto room) { return read_some(room); }, into);
}

Result<std::optional<std::size_t>> Channel::read(std::span<std::byte> into, Wait wait) {
    Lock lock(mutex_);
    for (;;) {
        if (failed_)
            return Unexpected(*failed_);
        if (shut_ || stopped_ || into.empty())
            return std::size_t{0};
        std::size_t taken = take(into);
        if (taken == 0 && !end_received_ && !peer_closed_ && options_.reads == Reads::caller &&
            current_.connection && !receiving_) {
            const bool arrived = receive(lock, into, taken, wait);
            if (!arrived && wait == Wait::no)
                return std::nullopt;
            if (taken == 0)
                continue;
        }
        if (taken > 0) {
            changed();
            send_due(lock);
            return taken;
        }
        if (end_received_) {
            taken_ = received_;
            start_reader();
            send_due(lock);
            return std::size_t{0};
        }
        if (peer_closed_)
            return fail(ErrorKind::io, "the other gcctl has closed the channel");
        if (wait == Wait::no)
            return std::nullopt;
        changed_.wait(lock);
    }
}

std::size_t Channel::take(std::span<std::byte> into) {
    // Only a caller that reads leaves data in input_, and it does not receive now.
    ReadBuffer& from = ready_ > 0 ? input_ : inbox_;
    const auto bytes = from.bytes();
    const std::size_t size = std::min(ready_ > 0 ? ready_ : bytes.size(), into.size());
    std::ranges::copy(bytes.first(size), into.begin());
    from.keep(bytes.size() - size);
    ready_ -= std::min(ready_, size);
    taken_ += size;
    return size;
}

void Channel::set_ready_aside() {
    inbox_.append(input_.bytes().first(ready_));
    input_.keep(input_.bytes().size() - ready_);
    ready_ = 0;
}

bool Channel::receive(Lock& lock, std::span<std::byte> into, std::size_t& taken, Wait wait) {
    const Current current = current_;
    receiving_ = true;
    const bool fresh = std::exchange(input_epoch_, current.epoch) != current.epoch;
    // If data is left at its front, reading was ended.
    input_.keep(fresh ? 0 : input_.bytes().size() - ready_);
    ready_ = 0;
    const std::size_t before = input_.bytes().size();
    Result<void> done = take_records(lock, current, into, taken);
    Result<bool> arrived = true;
    if (done && input_.bytes().size() == before) {  // no whole record was left
        lock.unlock();
        arrived = receive_bytes(*current.connection, wait);
        lock.lock();
        if (!arrived)
            done = Unexpected(arrived.error());
        else if (*arrived)
            done = take_records(lock, current, into, taken);
    }
    receiving_ = false;
    changed();
    if (!done) {
        lock.unlock();
        lost(current.epoch, done.error());
        lock.lock();
    }
    return !arrived || *arrived;
}

Result<bool> Channel::receive_bytes(Connection& from, Wait wait) {
    if (!from.pending() && wait != Wait::always) {
        std::array<pollfd, 2> waits{{{from.fd(), POLLIN, 0}, {ended_reading_.fd(), POLLIN, 0}}};
        GC_CHECK(poll_until(waits, wait == Wait::no ? Deadline(0ms) : Deadline::never()));
        if (waits[0].revents == 0)
            return false;
    }
    // Only a whole TLS record can be read, and it may arrive slowly.
    bool nothing = false;
    GC_TRY(const std::size_t got,
           input_.fill_with([&](std::span<std::byte> room) -> Result<std::size_t> {
               if (wait != Wait::no)
                   return from.read_some(room);
               GC_TRY(const auto available, from.read_available(room));
               nothing = !available;
               return available.value_or(0);
           }));
    if (got == 0 && !nothing)
        return fail(ErrorKind::io, "the other gcctl closed the connection");
    if (got > 0)
        ++heard_;
    return got > 0;
}

Result<void> Channel::take_records(Lock& lock, const Current& current, std::span<std::byte> into,
                                   std::size_t& taken) {
    while (ready_ == 0) {
        const auto bytes = input_.bytes();
        if (bytes.size() < record_head_size)
            return {};
        GC_TRY(const RecordHead head, decode(bytes.first<record_head_size>()));
        // A reader that has no more room comes again.
        if (head.kind == RecordKind::data && taken > 0 && taken == into.size() && !stopped_)
            return {};
        const auto rest = bytes.subspan(record_head_size);
        if (rest.size() < head.size)
            return {};
        const auto data = rest.first(head.size);
        if (checked(*current.connection) && head.size > 0) {
            lock.unlock();
            const std::uint32_t check = crc32c(data);
            lock.lock();
            if (check != head.check)
                return fail(ErrorKind::protocol, "a record's data was changed on its way");
        }
        // What is left is of a connection that was replaced.
        if (current_.epoch != current.epoch || !current_.connection)
            return {};
        GC_CHECK(on_record(head, data, into, taken));
        input_.keep(rest.size() - head.size + ready_);
    }
    return {};
}

Result<void> Channel::on_record(const RecordHead& head, std::span<const std::byte> data,
                                std::span<std::byte> into, std::size_t& taken) {
    switch (head.kind) {
    case RecordKind::data:
    case RecordKind::end:
        if (head.position != received_ || end_received_)
            return fail(ErrorKind::protocol, "expected byte {} of the channel, found byte {}{}",
                        received_, head.position, end_received_ ? " after its end" : "");
        break;
    case RecordKind::ack:
        return on_acknowledged(head.position);
    case RecordKind::stop:
        peer_stopped_ = true;
        release();
        return {};
    case RecordKind::closed:
        peer_closed_ = true;
        disconnect();
        quiet_.write.reset();
        return {};
    case RecordKind::resume:
        return fail(ErrorKind::protocol, "found a second record of kind 1");
    }
    end_received_ = head.kind == RecordKind::end;
    received_ += end_received_ ? 1 : data.size();
    if (stopped_) {
        taken_ = received_;
        return {};
    }
    if (inbox_.bytes().empty()) {
        const auto now = data.first(std::min(data.size(), into.size() - taken));
        std::ranges::copy(now, into.begin() + static_cast<std::ptrdiff_t>(taken));
        taken += now.size();
        taken_ += now.size();
        data = data.subspan(now.size());
    }
    // What a caller has no room for stays where it is, until it reads again.
    if (into.empty())
        inbox_.append(data);
    else
        ready_ = data.size();
    return {};
}

Result<void> Channel::on_acknowledged(std::uint64_t position) {
    if (position > max_sent_)
        return fail(ErrorKind::protocol,
                    "the other gcctl has {} bytes of the channel, {} were sent", position,
                    max_sent_);
    acknowledged_ = std::max(acknowledged_, position);
    release();
    return {};
}

void Channel::start_reader() {
    if (!reader_.joinable())
        reader_ = std::thread([this] { read_on(); });
}

void Channel::read_on() {
    Lock lock(mutex_);
    while (!shut_ && !failed_ && !peer_closed_) {
        if (!current_.connection || receiving_ || inbox_.bytes().size() >= max_read_ahead) {
            changed_.wait(lock);
            continue;
        }
        std::size_t none = 0;
        receive(lock, {}, none, Wait::always);
        send_due(lock);
    }
}

}  // namespace gc::peer

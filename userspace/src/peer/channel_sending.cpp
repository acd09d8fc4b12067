// SPDX-License-Identifier: GPL-2.0-or-later
// The part of a channel that writes.
#include "peer/channel.h"

#include "util/poll.h"
#include "util/socket.h"

#include <algorithm>
#include <linux/sockios.h>
#include <sys/ioctl.h>  // TIOCOUTQ, which SIOCOUTQ is
#include <sys/stat.h>
#include <unistd.h>

namespace gc::peer {

using namespace std::chrono_literals;

namespace {

/// For the thread that reads to come to the end of a broken connection.
constexpr auto reader_limit = 200ms;

/// Whether a range that send_file() could not send is not in its file.
bool ends_early(std::span<const Piece> pieces) {
    return std::ranges::any_of(pieces, [](const Piece& piece) {
        struct stat status {};
        return piece.file >= 0 &&
               (::fstat(piece.file, &status) != 0 ||
                piece.offset + piece.file_size > static_cast<std::uint64_t>(status.st_size));
    });
}

}  // namespace

Result<void> Channel::write(std::span<const iovec> parts, More more, const HeldBytes& held) {
    if (raw_) {
        std::vector<iovec> copies(parts.begin(), parts.end());
        return raw_->write(copies, more);
    }
    Lock lock(mutex_);
    for (const iovec& part : parts) {
        const std::span bytes(static_cast<const std::byte*>(part.iov_base), part.iov_len);
        GC_CHECK(add(lock, bytes, held.contain(bytes) ? held.owner : nullptr));
    }
    return more == More::yes ? Result<void>{} : flush(lock);
}

Result<void> Channel::write(std::span<const std::byte> bytes, More more) {
    const iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    return write(std::span(&part, 1), more);
}

Result<void> Channel::write_frozen(std::span<const std::byte> bytes, More more) {
    if (raw_)
        return write(bytes, more);
    Lock lock(mutex_);
    GC_CHECK(add(lock, Piece{.memory = bytes}));
    return more == More::yes ? Result<void>{} : flush(lock);
}

Result<void> Channel::send_file(int file, std::uint64_t offset, std::size_t size, More more,
                                HeldBytes mapped) {
    if (raw_)
        return raw_->send_file(file, offset, size);
    Lock lock(mutex_);
    GC_CHECK(add(lock,
                 Piece{.memory = mapped.bytes, .file = file, .offset = offset, .file_size = size},
                 std::move(mapped.owner)));
    return more == More::yes ? Result<void>{} : flush(lock);
}

Result<void> Channel::add(Lock& lock, const Piece& frozen, std::shared_ptr<const void> owner) {
    if (dead() || ending_)
        return Unexpected(write_error());
    retained_.refer(frozen, std::move(owner));
    return flush_records(lock);
}

Result<void> Channel::add(Lock& lock, std::span<const std::byte> bytes,
                          const std::shared_ptr<const void>& owner) {
    if (dead() || ending_)
        return Unexpected(write_error());
    while (!bytes.empty()) {
        const auto part = bytes.first(std::min(bytes.size(), max_record));
        GC_CHECK(await_room(lock, part.size()));
        if (owner)
            retained_.hold(part, owner);
        else
            retained_.copy(part);
        bytes = bytes.subspan(part.size());
    }
    return flush_records(lock);
}

Result<void> Channel::flush_records(Lock& lock) {
    return retained_.end() - std::min(sent_, retained_.end()) < max_record ? Result<void>{}
                                                                           : flush(lock);
}

Result<void> Channel::await_room(Lock& lock, std::size_t size) {
    while (retained_.copied() > 0 && retained_.copied() + size > options_.max_copied) {
        if (dead() || ending_)
            return Unexpected(write_error());
        // What waits for more must be sent, or it is never acknowledged.
        if (sent_ < retained_.end() && current_.connection && !sending_)
            send_all(lock);
        else
            changed_.wait(lock);
    }
    return {};
}

Result<void> Channel::flush(Lock& lock) {
    const std::uint64_t until = retained_.end();
    while (sent_ < until) {
        if (dead())
            return Unexpected(write_error());
        if (current_.connection && !sending_) {
            send_all(lock);
            continue;
        }
        // Somebody sends it without this thread: send_all(), or attach().
        if (!current_.connection || sending_all_) {
            if (ending_)
                return Unexpected(write_error());
            if (retained_.end() - sent_ <= options_.max_unsent)
                return {};
        }
        changed_.wait(lock);
    }
    return {};
}

void Channel::send_all(Lock& lock) {
    sending_ = sending_all_ = true;
    while (current_.connection && !dead()) {
        const Current current = current_;
        if (const auto record = due(Acknowledge::much))
            send_short(lock, current, *record);
        else if (sent_ < retained_.end())
            send_data(lock, current);
        else
            break;
    }
    sending_ = sending_all_ = false;
    changed();
}

bool Channel::writable(const Connection& connection) {
    return wait_for_events(connection.fd(), POLLOUT, 0ms).value_or(false);
}

bool Channel::checked(const Connection& connection) const {
    return options_.checksums && connection.session() == nullptr;
}

std::optional<RecordHead> Channel::due(Acknowledge when) const {
    if (stopped_ && !stopped_told_)
        return RecordHead{.kind = RecordKind::stop};
    if (ending_ && sent_ == retained_.end() && !peer_stopped_)
        return RecordHead{.kind = RecordKind::end, .position = sent_};
    const bool end_taken = end_received_ && taken_ == received_;
    if (beat_due_ || (taken_ > told_ && (when == Acknowledge::anything || end_taken ||
                                         taken_ - told_ >= acknowledge_after)))
        return RecordHead{.kind = RecordKind::ack, .position = taken_};
    return std::nullopt;
}

void Channel::send_short(Lock& lock, const Current& current, const RecordHead& record) {
    if (record.kind == RecordKind::end)
        max_sent_ = std::max(max_sent_, record.position + 1);
    lock.unlock();
    const Result<void> written = current.connection->write(encode(record));
    if (!written)
        lost_writing(current, written.error());
    lock.lock();
    if (!written || current_.epoch != current.epoch)
        return;
    ++said_;
    beat_due_ = false;
    if (record.kind == RecordKind::end)
        sent_ = record.position + 1;
    else if (record.kind == RecordKind::ack)
        told_ = std::max(told_, record.position);
    else if (record.kind == RecordKind::stop)
        stopped_told_ = true;
}

void Channel::lost_writing(const Current& current, const Error& cause) {
    Lock lock(mutex_);
    const auto is_there = [&] {
        return current_.epoch == current.epoch && current_.connection != nullptr;
    };
    // A thread that reads sees the end, too.
    changed_.wait_for(lock, reader_limit, [&] { return !receiving_ || !is_there(); });
    if (!receiving_)
        set_ready_aside();
    std::size_t none = 0;
    while (is_there() && !receiving_ && inbox_.bytes().size() < max_read_ahead &&
           receive(lock, {}, none, Wait::no))
        continue;
    lock.unlock();
    lost(current.epoch, cause);
}

void Channel::send_due(Lock& lock, Acknowledge when) {
    if (sending_)
        return;  // send_all() looks for it; otherwise the next tick does
    while (current_.connection) {
        const auto record = due(when);
        if (!record || !writable(*current_.connection))
            return;
        const Current current = current_;
        sending_ = true;
        send_short(lock, current, *record);
        sending_ = false;
        changed();
    }
}

void Channel::send_data(Lock& lock, const Current& current) {
    const std::uint64_t from = sent_;
    std::vector<Piece> pieces = retained_.pieces(from, max_record);
    std::uint64_t end = from;
    for (const Piece& piece : pieces)
        end += piece.size();
    sending_from_ = from;
    max_sent_ = std::max(max_sent_, end);
    const More more = end < retained_.end() ? More::yes : More::no;
    lock.unlock();
    Result<void> loaded = checked(*current.connection) ? load_files(pieces) : Result<void>{};
    const Result<void> written =
        loaded ? write_record(*current.connection, from, pieces, more) : Result<void>{};
    if (!written && ends_early(pieces))
        loaded = Unexpected(written.error());
    else if (!written)
        lost_writing(current, written.error());
    lock.lock();
    sending_from_.reset();
    if (!loaded)
        return end_with(loaded.error());
    if (written && current_.epoch == current.epoch) {
        sent_ = end;
        ++said_;
    }
    release();
    changed();
}

Result<void> Channel::load_files(std::span<Piece> pieces) {
    room_.resize(max_record);
    std::size_t used = 0;
    for (Piece& piece : pieces) {
        if (piece.file < 0 || !piece.memory.empty())
            continue;
        const auto into = std::span(room_).subspan(used, piece.file_size);
        for (std::size_t have = 0; have < into.size();) {
            const ssize_t got = ::pread(piece.file, into.data() + have, into.size() - have,
                                        static_cast<off_t>(piece.offset + have));
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                return fail_errno(errno, "read a page from its file");
            if (got == 0)
                return fail(ErrorKind::io, "expected {} bytes at {} of a file, it ends after {}",
                            into.size(), piece.offset, have);
            have += static_cast<std::size_t>(got);
        }
        used += into.size();
        piece = {.memory = into};
    }
    return {};
}

Result<void> Channel::write_record(Connection& to, std::uint64_t position,
                                   std::span<const Piece> pieces, More more) const {
    RecordHead head{.kind = RecordKind::data, .position = position};
    for (const Piece& piece : pieces) {
        head.size += piece.size();
        if (checked(to))
            head.check = crc32c(piece.memory, head.check);
    }
    const auto encoded = encode(head);
    std::vector<iovec> parts{{const_cast<std::byte*>(encoded.data()), encoded.size()}};
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const Piece& piece = pieces[i];
        if (piece.file < 0 || (!piece.memory.empty() && !to.sends_files())) {
            parts.push_back({const_cast<std::byte*>(piece.memory.data()), piece.memory.size()});
            continue;
        }
        if (!parts.empty())
            GC_CHECK(to.write(parts, More::yes));
        parts.clear();
        GC_CHECK(to.send_file(piece.file, piece.offset, piece.file_size));
    }
    return parts.empty() ? Result<void>{} : to.write(parts, more);
}

void Channel::release() {
    const std::uint64_t needless = peer_stopped_ ? retained_.end() : acknowledged_;
    retained_.drop(std::min(needless, sending_from_.value_or(needless)));
}

std::uint64_t Channel::in_flight() const {
    if (raw_)
        return queued_bytes(raw_->fd(), SIOCOUTQ);
    const Lock lock(mutex_);
    if (!current_.connection)
        return retained_.end() - std::min(acknowledged_, retained_.end());
    return retained_.end() - std::min(sent_, retained_.end()) +
           queued_bytes(current_.connection->fd(), SIOCOUTQ);
}

std::uint64_t Channel::unacknowledged() const {
    if (raw_)
        return in_flight();
    const Lock lock(mutex_);
    return retained_.end() - std::min(acknowledged_, retained_.end());
}

std::size_t Channel::copied() const {
    const Lock lock(mutex_);
    return retained_.copied();
}

Result<bool> Channel::wait_taken(Deadline deadline) {
    if (raw_)
        return true;
    Lock lock(mutex_);
    while (acknowledged_ < total()) {
        if (dead())
            return Unexpected(write_error());
        if (deadline.expired())
            return false;
        // Not wait_until(): the deadline may be never.
        changed_.wait_for(lock, std::min<std::chrono::milliseconds>(deadline.left(), 1h));
    }
    return true;
}

}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/connection.h"

#include "util/poll.h"
#include "util/read_whole.h"
#include "util/socket.h"

#include <sys/socket.h>

namespace gc::peer {

Result<std::size_t> Connection::read_some(std::span<std::byte> into) {
    return session_ ? session_->read_some(into) : gc::read_some(fd_.get(), into);
}

Result<bool> Connection::read_whole(std::span<std::byte> into) {
    return read_whole_with([this](auto room) { return read_some(room); }, into);
}

Result<std::optional<std::size_t>> Connection::read_available(std::span<std::byte> into) {
    if (session_)
        return session_->try_read(into);
    GC_TRY(const bool ready, wait_readable(fd_.get(), std::chrono::milliseconds(0)));
    if (!ready)
        return std::nullopt;
    GC_TRY(const std::size_t got, gc::read_some(fd_.get(), into));
    return got;
}

Result<void> Connection::write(std::span<iovec> parts, More more) {
    if (session_)
        return session_->write(parts, more == More::yes);
    return write_all(fd_.get(), parts, more == More::yes ? MSG_MORE : 0);
}

Result<void> Connection::write(std::span<const std::byte> bytes) {
    return session_ ? session_->write(bytes) : write_all(fd_.get(), bytes);
}

Result<void> Connection::send_file(int file, std::uint64_t offset, std::size_t size) {
    return session_ ? session_->send_file(file, offset, size)
                    : gc::send_file(fd_.get(), file, offset, size);
}

void Connection::end_writing() {
    if (session_)
        session_->end();
    if (fd_)
        ::shutdown(fd_.get(), SHUT_WR);
}

void Connection::end_reading() const {
    if (fd_)
        ::shutdown(fd_.get(), SHUT_RD);
}

void Connection::shut_down() const {
    if (fd_)
        ::shutdown(fd_.get(), SHUT_RDWR);
}

}  // namespace gc::peer

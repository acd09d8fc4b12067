// SPDX-License-Identifier: GPL-2.0-or-later
// A connection that carries the bytes of one channel: a socket, or a TLS session on one.
#pragma once

#include "tls/session.h"
#include "util/fd.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace gc::peer {

/// Blocking. One thread may read while another one writes.
class Connection {
  public:
    Connection() = default;
    /// Takes a connected socket as it is: bytes are not protected.
    Connection(UniqueFd fd) : fd_(std::move(fd)) {}  // NOLINT(google-explicit-constructor)
    /// @param session on this socket
    Connection(UniqueFd fd, tls::Session session)
        : fd_(std::move(fd)), session_(std::move(session)) {}

    /// nullptr if bytes are not protected.
    [[nodiscard]] const tls::Session* session() const { return session_ ? &*session_ : nullptr; }

    /// For poll(2) and socket options. Readable when bytes have arrived, see pending().
    [[nodiscard]] int fd() const { return fd_.get(); }
    explicit operator bool() const { return static_cast<bool>(fd_); }

    /// Whether received bytes are held in memory, of which poll(2) knows nothing.
    [[nodiscard]] bool pending() const { return session_ && session_->pending(); }

    /// Reads at least one byte. @return 0 at the end of the stream. Errors: io.
    Result<std::size_t> read_some(std::span<std::byte> into);
    /// Fills the span. @return false if the stream ends before the first byte. Errors: io, also if
    /// it ends in the middle of the span.
    Result<bool> read_whole(std::span<std::byte> into);
    /// Reads what has arrived. @return nullopt if nothing has, 0 at the end. Errors: io.
    Result<std::optional<std::size_t>> read_available(std::span<std::byte> into);

    /// Whether more bytes follow at once, so that the kernel may wait for them.
    enum class More : bool { no, yes };
    /// Writes all bytes. Modifies the vector. Errors: io.
    Result<void> write(std::span<iovec> parts, More more = More::no);
    Result<void> write(std::span<const std::byte> bytes);
    /// Sends a range of a file, without copying it where the kernel can. Errors: io, also if the
    /// file ends early.
    Result<void> send_file(int file, std::uint64_t offset, std::size_t size);

    /// Whether send_file() copies nothing.
    [[nodiscard]] bool sends_files() const { return !session_ || session_->kernel_sends(); }

    /// No more bytes follow. A thread that waits in write() gets an error. From any thread.
    void end_writing();
    /// Ends every read that waits, for good. From any thread.
    void end_reading() const;
    /// Ends every read and write that waits, for good. From any thread.
    void shut_down() const;
    /// Only when no thread uses it any more.
    void close() {
        session_.reset();
        fd_.reset();
    }

  private:
    UniqueFd fd_;
    std::optional<tls::Session> session_;
};

}  // namespace gc::peer

// SPDX-License-Identifier: GPL-2.0-or-later
// A channel to the destination that pages are sent on.
#pragma once

#include "ledger/page_class.h"
#include "peer/channel.h"
#include "peer/frame.h"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

namespace gc::transfer {

/// The SO_MARK by which a traffic policy recognises the packets of each class; 0 if there is none.
using Marks = ledger::PerClass<std::uint32_t>;

/// A range of a file.
struct FileRun {
    int file = -1;
    std::uint64_t offset = 0;
    std::size_t size = 0;
    HeldBytes mapped = {};  ///< the same bytes, or empty
};

/// Not thread-safe, except where noted.
class Outlet {
  public:
    /// @param channel may be null; must live longer
    Outlet(peer::Channel* channel, const Marks& marks);
    Outlet(const Outlet&) = delete;
    Outlet& operator=(const Outlet&) = delete;

    explicit operator bool() const { return channel_ != nullptr; }
    /// For what the destination sends.
    [[nodiscard]] peer::Channel& channel() { return *channel_; }

    /// Limits the bytes queued unsent in the socket, because every later byte waits for them
    /// (TCP_NOTSENT_LOWAT).
    void limit_unsent(std::uint64_t bytes);
    /// The limit; 0 if none was set. From any thread.
    [[nodiscard]] std::uint64_t unsent_limit() const { return unsent_limit_; }
    /// Bytes per second that the peer's TCP has acknowledged recently (tcpi_delivery_rate, see
    /// net/ipv4/tcp_rate.c, 6.1); 0 if unknown.
    [[nodiscard]] std::uint64_t delivery_rate() const;
    /// Whether less than that limit is queued. Also true if the channel has ended; false while it
    /// has no connection. If not, wait for POLLOUT of the socket.
    [[nodiscard]] bool writable() const;
    [[nodiscard]] int socket() const { return channel_ == nullptr ? -1 : channel_->socket(); }
    [[nodiscard]] bool connected() const { return channel_ != nullptr && channel_->connected(); }

    /// Writes the bytes as they are and consumes the vector. Everything queued in the socket gets
    /// the mark of this class, too, because the kernel reads the mark when it sends (ip_queue_xmit
    /// in net/ipv4/ip_output.c, 6.1); but bytes that hurry() covers stay urgent.
    /// @param runs sent after the parts with Channel::send_file()
    /// @param held as in Channel::write()
    /// Errors: io.
    Result<void> write(ledger::PageClass as, std::span<iovec> parts,
                       std::span<const FileRun> runs = {}, const HeldBytes& held = {});
    /// Writes the bytes in frames; `kind` is that of the last one.
    /// @param held as in Channel::write()
    Result<void> write_framed(ledger::PageClass as, peer::FrameKind kind,
                              std::span<const iovec> parts, const HeldBytes& held = {});
    /// Writes the bytes as one frame.
    /// @param parts the first element is reserved for the frame's head
    /// @param runs, held as in write()
    Result<void> write_frame(ledger::PageClass as, peer::FrameKind kind, std::span<iovec> parts,
                             std::span<const FileRun> runs = {}, const HeldBytes& held = {});

    /// Marks everything queued as urgent until all bytes before this position are sent. From any
    /// thread, even while another one is in write(). Packets that the NIC's qdisc already holds
    /// keep their departure time.
    void hurry(std::uint64_t position);
    /// Bytes given to write(), without those that encryption adds. From any thread.
    [[nodiscard]] std::uint64_t written() const { return written_; }
    /// The part of written() that TCP has sent. From any thread.
    [[nodiscard]] std::uint64_t sent() const;
    /// The part of written() that has not reached the other host. From any thread.
    [[nodiscard]] std::uint64_t in_flight() const;

    /// Ends the stream: no more bytes follow.
    void end();
    /// Makes every blocked write fail, for good. From any thread.
    void shut_down() const;
    void close();

  private:
    void mark(ledger::PageClass as);
    /// A new connection has none of the socket's options.
    void set_up(int socket);

    peer::Channel* channel_;
    Marks marks_;
    std::atomic<std::uint64_t> unsent_limit_ = 0;  ///< of the socket; 0 if none was set
    std::atomic<std::uint64_t> written_ = 0;
    std::mutex mark_mutex_;
    std::uint32_t mark_ = 0;         ///< of the socket
    std::uint64_t hurry_until_ = 0;  ///< a position; 0 if nothing hurries
};

}  // namespace gc::transfer

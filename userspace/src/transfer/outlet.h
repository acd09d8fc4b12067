// SPDX-License-Identifier: GPL-2.0-or-later
// A TCP connection to the destination that pages leave by.
#pragma once

#include "ledger/page_class.h"
#include "peer/frame.h"
#include "util/fd.h"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

namespace gc::transfer {

/// What a traffic policy knows the packets of a class by (SO_MARK); 0: nothing.
using Marks = ledger::PerClass<std::uint32_t>;

/// Bytes of a file.
struct FileRun {
    int file = -1;
    std::uint64_t offset = 0;
    std::size_t size = 0;
};

/// Not thread-safe, but for what says so.
class Outlet {
  public:
    /// @param fd may be none
    Outlet(UniqueFd fd, const Marks& marks) : fd_(std::move(fd)), marks_(marks) {}

    [[nodiscard]] int fd() const { return fd_.get(); }
    explicit operator bool() const { return static_cast<bool>(fd_); }

    /// Lets so many bytes at most wait unsent in the socket, as each that comes later waits for
    /// them (TCP_NOTSENT_LOWAT).
    void limit_unsent(std::uint64_t bytes);
    /// As it was set; 0: it was not. From any thread.
    [[nodiscard]] std::uint64_t unsent_limit() const { return unsent_limit_; }
    /// Bytes per second that the peer's TCP has acknowledged of late (tcpi_delivery_rate, see
    /// net/ipv4/tcp_rate.c, 6.1); 0 if that is not known.
    [[nodiscard]] std::uint64_t delivery_rate() const;
    /// Whether less than that limit waits; also if the connection has ended.
    [[nodiscard]] bool writable() const;

    /// Writes the bytes as they are. From here on all that waits in the socket is marked as of this
    /// class, too: the kernel reads the mark when it sends (ip_queue_xmit in net/ipv4/ip_output.c,
    /// 6.1). Unless what waits there is in a hurry. The vector is consumed.
    /// @param runs sent after the parts, from where they are: see send_file()
    /// Errors: io.
    Result<void> write(ledger::PageClass as, std::span<iovec> parts,
                       std::span<const FileRun> runs = {});
    /// Writes the bytes in frames, the last of them of this kind.
    Result<void> write_framed(ledger::PageClass as, peer::FrameKind kind,
                              std::span<const iovec> parts);
    /// Writes the bytes as one frame.
    /// @param parts the first of it is free, for the frame's head
    /// @param runs as of write()
    Result<void> write_frame(ledger::PageClass as, peer::FrameKind kind, std::span<iovec> parts,
                             std::span<const FileRun> runs = {});

    /// Until all before this position is sent, all that waits is marked as urgent. From any thread,
    /// also while another is in write(). What the NIC's qdisc has keeps its departure time.
    void hurry(std::uint64_t position);
    /// Bytes that write() has been given. From any thread.
    [[nodiscard]] std::uint64_t written() const { return written_; }
    /// Of these, those that TCP has sent. From any thread.
    [[nodiscard]] std::uint64_t sent() const;
    /// Of these, those that the peer's TCP has not acknowledged. From any thread.
    [[nodiscard]] std::uint64_t unacknowledged() const;

    /// No more bytes will follow.
    void end() const;
    /// Makes every blocked write fail, for good. From any thread.
    void shut_down() const;
    void close() { fd_.reset(); }

  private:
    void mark(ledger::PageClass as);

    UniqueFd fd_;
    Marks marks_;
    std::atomic<std::uint64_t> unsent_limit_ = 0;  ///< the socket's; 0: none was set
    std::atomic<std::uint64_t> written_ = 0;
    std::mutex mark_mutex_;
    std::uint32_t mark_ = 0;         ///< the socket's
    std::uint64_t hurry_until_ = 0;  ///< a position; 0: nothing hurries
};

}  // namespace gc::transfer

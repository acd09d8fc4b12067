// SPDX-License-Identifier: GPL-2.0-or-later
// Puts what comes in frames on main and on bulk (link/frame.h) together into the one stream that
// the destination QEMU reads.
#pragma once

#include "peer/frame.h"
#include "receive/byte_relay.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace gc::receive {

/// A frame of bulk goes into the stream where a section may begin, and only when main has nothing
/// at hand. At the stream's end, or when either connection breaks, the writing side of `to` is shut
/// down. No descriptor is owned.
class StreamMerger {
  public:
    StreamMerger(int main, int bulk, int to, Tap tap)
        : main_(main), bulk_(bulk), to_(to), tap_(std::move(tap)) {}
    /// Ends its threads.
    ~StreamMerger();
    StreamMerger(const StreamMerger&) = delete;
    StreamMerger& operator=(const StreamMerger&) = delete;

    /// Hands on the first bytes of the stream. Before start(). Errors: io, protocol.
    Result<void> begin(std::size_t size);
    /// Hands on the rest, in threads of its own.
    void start();

  private:
    Result<void> carry_main();
    Result<void> carry_bulk();
    /// Hands on so many bytes of main.
    Result<void> copy(std::size_t size);
    Result<void> hand_on(std::span<const std::span<const std::byte>> parts) const;
    void await_bulk_end();
    void take_turn_for_main();
    /// @return false when the stream has ended
    bool take_turn_for_bulk();
    void give_turn(bool boundary);
    void end_all();

    int main_;
    int bulk_;
    int to_;
    Tap tap_;
    peer::FrameHead first_;          ///< of main; less what begin() has handed on
    std::vector<std::byte> buffer_;  ///< main's
    std::mutex mutex_;               ///< of all below
    std::condition_variable changed_;
    bool taken_ = false;         ///< somebody writes a frame
    bool main_waits_ = false;    ///< for its turn
    bool boundary_ = false;      ///< where a section may begin
    bool bulk_ended_ = false;    ///< all of it is in the stream
    bool stream_ended_ = false;  ///< nothing may follow
    std::thread main_thread_, bulk_thread_;
};

}  // namespace gc::receive

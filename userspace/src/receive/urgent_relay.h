// SPDX-License-Identifier: GPL-2.0-or-later
// Carries the channel urgent to QEMU's preempt socket, and between its pages what gcctl gives QEMU
// by itself.
#pragma once

#include "peer/frame.h"
#include "receive/byte_relay.h"
#include "util/read_buffer.h"

#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

namespace gc::receive {

struct UrgentTaps {
    /// What QEMU was given, in the stream's order, by one thread at a time.
    Tap given;
    /// Called before the end of the stream: returns when nothing more is given by give(), or false
    /// if the stream must not end.
    std::function<bool()> await_end;
    /// The channel broke, or carries what QEMU would not understand.
    std::function<void(const Error&)> broke;
};

/// How the channel carries its pages.
struct UrgentForm {
    bool framed = false;  ///< in frames, which may be compressed
    /// Each page names its block. A page of zeros may come between any two of them, so all host
    /// pages must have 4 KiB: the pages of a larger one must not be separated.
    bool named = true;
};

/// Forwards only whole records, so that another one may follow at any time. At the end of the
/// channel, it ends the writing side of `to`. It owns neither.
class UrgentRelay {
  public:
    UrgentRelay(peer::Channel& from, peer::Connection& to, UrgentTaps taps, UrgentForm form = {});
    /// Stops the thread and waits for it. What await_end waits for must have ended.
    ~UrgentRelay();
    UrgentRelay(const UrgentRelay&) = delete;
    UrgentRelay& operator=(const UrgentRelay&) = delete;

    /// Gives QEMU a record that names its block, if all pages of the channel do. From any thread.
    /// Errors: io.
    Result<void> give(std::span<const std::byte> record);
    /// Ends the relay, and every wait but await_end. From any thread.
    void stop() const;

  private:
    Result<void> carry();
    /// Adds what comes next on the channel. @return false at its end
    Result<bool> read();
    Result<bool> read_frame();
    Result<void> write(std::span<const std::byte> records);

    peer::Channel& from_;
    peer::Connection& to_;
    UrgentTaps taps_;
    const UrgentForm form_;
    ReadBuffer buffer_;  ///< these three belong to the thread
    peer::FrameUnpacker unpacker_;
    std::vector<std::byte> frame_;
    std::mutex mutex_;  ///< held while QEMU is given records
    std::thread thread_;
};

}  // namespace gc::receive

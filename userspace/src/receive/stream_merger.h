// SPDX-License-Identifier: GPL-2.0-or-later
// Merges the frames of main and bulk (peer/frame.h), and the pages of zeros that this end places by
// itself, into the one stream that the destination QEMU reads.
#pragma once

#include "peer/frame.h"
#include "receive/byte_relay.h"
#include "receive/zero_placer.h"

#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace gc::receive {

/// Called after QEMU has been given the bytes, in the stream's order, by one thread at a time.
struct MergerTaps {
    /// QEMU has the head of the stream, by which it recognises its main channel.
    std::function<void()> begun;
    /// The first error of either channel; QEMU then sees the end of the stream. From any thread.
    std::function<void(const Error&)> broke;
    /// The first frame of sections on main ends: it is the end of the package with the device
    /// state.
    std::function<void()> switched_over;
    /// Every later frame of sections, of main and of bulk. Pre-copy and the stream's end are not
    /// shown.
    Tap sections;
};

/// Inserts a frame of bulk only where a section may begin, and only while no frame of main is
/// waiting; zeros only while no frame of bulk is waiting either, but those that follow a requested
/// page in turns with bulk. At the stream's end, or if either channel fails, it shuts down the
/// writing side of `to`. It does not own the channels or the connection.
class StreamMerger {
  public:
    /// @param zeros null if the source tells of no zero pages
    StreamMerger(peer::Channel& main, peer::Channel& bulk, peer::Connection& to, MergerTaps taps,
                 ZeroPlacer* zeros = nullptr)
        : main_(main), bulk_(bulk), to_(to), taps_(std::move(taps)), zeros_(zeros) {}
    /// Ends its threads.
    ~StreamMerger();
    StreamMerger(const StreamMerger&) = delete;
    StreamMerger& operator=(const StreamMerger&) = delete;

    /// Forwards the stream, in threads of its own.
    /// @param head size of the stream's head in bytes
    void start(std::size_t head);

    /// Gives QEMU a section where the next one may begin, before bulk. From any thread. Errors: io.
    Result<void> give(std::span<const std::byte> section);
    /// Ends the stream, and every wait. From any thread.
    void stop() { end_all(); }

  private:
    /// The writers of the stream. Main and a page that was requested go before the others.
    enum class Writer : std::uint8_t { main, requested, bulk, zeros };
    static constexpr std::size_t writers = 4;

    /// Forwards the first `size` bytes of the stream. Errors: io, protocol.
    Result<void> begin(std::size_t size);
    void run(Result<void> (StreamMerger::*body)());
    Result<void> carry_main();
    Result<void> carry_bulk();
    Result<void> carry_zeros();
    /// Forwards `size` bytes of main.
    Result<void> copy(std::size_t size, const Tap& tap);
    Result<void> forward(std::span<const std::span<const std::byte>> parts, const Tap& tap) const;
    /// Waits for all of bulk and of the zeros. @return false if the stream has ended before
    bool await_others();
    /// @return false when the stream has ended; never for main
    bool take_turn(Writer writer);
    [[nodiscard]] bool is_turn_of(Writer writer) const;
    [[nodiscard]] bool waits(Writer writer) const {
        return waiting_[static_cast<std::size_t>(writer)] > 0;
    }
    void give_turn(bool boundary);
    void end_all();

    peer::Channel& main_;
    peer::Channel& bulk_;
    peer::Connection& to_;
    MergerTaps taps_;
    ZeroPlacer* const zeros_;
    peer::FrameHead first_;          ///< of main; its size is what begin() has left of it
    std::vector<std::byte> buffer_;  ///< of the main thread
    peer::FrameUnpacker main_frames_, bulk_frames_;  ///< of these threads
    std::mutex mutex_;                               ///< protects what follows
    std::condition_variable changed_;
    bool taken_ = false;                       ///< a thread is writing a frame
    std::array<unsigned, writers> waiting_{};  ///< threads that wait for their turn
    Writer last_ = Writer::main;               ///< whose turn it was last
    bool boundary_ = false;                    ///< a section may begin here
    bool bulk_ended_ = false;                  ///< all of bulk is in the stream
    bool stream_ended_ = false;                ///< nothing may follow
    bool broken_ = false;                      ///< taps_.broke was called
    std::size_t head_ = 0;                     ///< size of the stream's head
    std::thread main_thread_, bulk_thread_, zeros_thread_;
};

}  // namespace gc::receive

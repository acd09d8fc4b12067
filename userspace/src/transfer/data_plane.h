// SPDX-License-Identifier: GPL-2.0-or-later
// Everything that moves pages: five threads around one ledger.
//
//   relay    reads the source QEMU's stream (StreamRelay)
//   serve    reads the destination's return path and answers its page requests (PageServer)
//   guide    after switch-over: sends what the guide touches (GuidePusher)
//   bulk     while the guide has nothing to send: pages that follow requests, the hot set and the
//            background (BulkPusher)
//   zeros    at switch-over: tells the destination which pages were never written (ZeroTeller)
#pragma once

#include "transfer/bulk_pusher.h"
#include "transfer/guide_pusher.h"
#include "transfer/notice.h"
#include "transfer/page_server.h"
#include "transfer/stream_relay.h"
#include "transfer/zero_teller.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

namespace gc::transfer {

struct DataPlaneSockets {
    UniqueFd source;  ///< the source QEMU's migration socket
    PageChannels channels;
    PreemptSocket preempt{};
};

struct DataPlaneOptions {
    std::uint64_t bandwidth = 0;                   ///< bytes per second; 0 means no limit
    std::chrono::milliseconds guide_wait{0};       ///< how long the device state waits, at most
    std::uint64_t next_pages = 0;                  ///< pages sent ahead after each request
    std::chrono::milliseconds hold_background{0};  ///< from the time the VM runs
    bool keep_deliveries = false;                  ///< see Ledger::keep_deliveries()
    Marks marks{};                                 ///< of a traffic policy
    bool guide_requests = false;                   ///< the guide requests its pages of gcctl
    bool tell_zeros = false;                       ///< the destination places runs of zeros itself
    Compress compress = Compress::off;
    std::vector<peer::Compression> compressions{};  ///< that the destination can undo
    bool frame_urgent = false;                      ///< see PageSender::compress()
};

class DataPlane {
  public:
    static Result<std::unique_ptr<DataPlane>> create(DataPlaneSockets sockets,
                                                     image::SourceImage image,
                                                     DataPlaneOptions options,
                                                     std::vector<capture::BlockRecords> guide);
    ~DataPlane() { stop(); }
    DataPlane(const DataPlane&) = delete;
    DataPlane& operator=(const DataPlane&) = delete;

    /// Call it before start().
    void set_warm(WarmPages warm) { bulk_.set_warm(std::move(warm)); }
    void start();
    /// Ends all threads, whatever they wait for, and closes the channels to the destination.
    /// Idempotent.
    void stop();
    /// After stop(), for a source that has switched over; see StreamRelay::drain().
    Result<void> drain_source(std::chrono::milliseconds timeout) { return relay_.drain(timeout); }
    /// After stop().
    void close_source() { source_.close(); }

    /// After stop(). Null if the source never announced its RAM blocks.
    [[nodiscard]] const ledger::Ledger* ledger() const { return ledger_; }

    [[nodiscard]] Notices& notices() { return notices_; }

    /// Before switch-over: bytes of pre-copy between the source QEMU and the destination.
    [[nodiscard]] std::uint64_t in_flight() const {
        // In the direction of the stream: bytes that move on meanwhile are counted twice, never
        // missed.
        return source_.unread() + relay_.pending() + sender_.in_flight();
    }

    /// Whether the source has announced its RAM blocks.
    [[nodiscard]] bool announced() const { return ledger_.load() != nullptr; }
    /// Once the source has announced its RAM blocks, and before it switches over. Tells it at once
    /// that its package was loaded: whether the VM is handed over is gcctl's decision, and a QEMU
    /// that waits for that must not make another one. Errors: io.
    Result<void> free_source();
    /// Wakes the source QEMU, which is asked to switch over and may sleep until the end of one of
    /// its pacing windows of 100 ms, by requesting a page (migration_rate_limit() in
    /// migration/migration.c and migration_make_urgent_request(), 7.2 to 11.1). Before it has
    /// announced its RAM blocks, it would crash. Errors: io.
    Result<void> wake_source();

    /// After SwitchedOver: where a guide that requests its pages gets them.
    [[nodiscard]] GuideOrigin& guide_origin() { return origin_; }
    /// The guide's feeds are no longer used when this returns.
    void drop_guide() { guide_.drop_guide(); }
    /// Whether the guide has been found to touch other pages than its VM, since the last call.
    [[nodiscard]] std::optional<GuideMatch::Divergence> divergence() {
        return match_.judge(pages().in[ledger::PageClass::guide]);
    }
    /// See StreamRelay.
    void release_state() { relay_.release_state(); }
    [[nodiscard]] std::chrono::nanoseconds state_waited() const { return relay_.state_waited(); }
    void on_resumed() {
        bulk_.on_resumed();
        relay_.fetch_rest();
    }
    void release_background() { bulk_.release_background(); }

    [[nodiscard]] ledger::ClassCounts pages() const;
    [[nodiscard]] ledger::ClassCounts bytes() const;
    /// Pages sent because they follow a requested page.
    [[nodiscard]] std::uint64_t next_sent() const { return bulk_.next_sent(); }
    /// What the destination was told to be zeros.
    [[nodiscard]] const ZeroTeller& zeros() const { return zeros_; }
    [[nodiscard]] const CompressionCounts& compression() const { return sender_.compression(); }

  private:
    DataPlane(DataPlaneSockets sockets, image::SourceImage image, DataPlaneOptions options,
              std::vector<capture::BlockRecords> guide, std::array<Waker, 5> wakers);

    Result<ledger::Ledger*> on_blocks(const stream::RamBlockList& blocks,
                                      std::uint32_t ram_section);
    enum class Reads : std::uint8_t { host, destination };
    /// Starts a thread whose error is reported to the control loop, unless stop() caused it.
    void start_thread(std::function<Result<void>()> body, Reads from = Reads::host);
    /// Waits for switch-over. @return null if stop() was called first
    ledger::Ledger* await_switch_over(const Waker& wake);
    Result<void> push_guide();
    Result<void> push_bulk();
    Result<void> tell_zeros();

    const bool keep_deliveries_;
    const bool tell_zeros_;
    image::SourceImage image_;
    Notices notices_;
    Waker wake_relay_;
    Waker wake_guide_;
    Waker wake_bulk_;
    Waker wake_zeros_;
    SourceSocket source_;
    PreemptChannel preempt_;
    PageSender sender_;
    AskedPages asked_;
    KeptPages kept_;
    GuideMatch match_;
    GuideOrigin origin_;
    NextPages next_;
    std::unique_ptr<ledger::Ledger> ledger_storage_;
    std::atomic<ledger::Ledger*> ledger_ = nullptr;  ///< set once, by the relay thread
    StreamRelay relay_;
    PageServer server_;
    GuidePusher guide_;
    BulkPusher bulk_;
    ZeroTeller zeros_;
    std::atomic<bool> stopping_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
// Everything that moves pages: three threads around one ledger.
//
//   relay    reads the source QEMU's stream (StreamRelay)
//   serve    reads the destination's return path and answers its page requests (PageServer)
//   push     after switch-over: guide pages first, then the background (Pusher)
#pragma once

#include "report/report.h"
#include "transfer/guide_feed.h"
#include "transfer/notice.h"
#include "transfer/page_server.h"
#include "transfer/pusher.h"
#include "transfer/stream_relay.h"

#include <atomic>
#include <memory>
#include <thread>

namespace gc {

struct DataPlaneSockets {
    UniqueFd source;  ///< the source QEMU's migration socket
    UniqueFd main;    ///< to the destination
    UniqueFd urgent;  ///< QEMU's preempt channel, or none
};

struct DataPlaneOptions {
    std::uint64_t bandwidth = 0;                   ///< bytes per second; 0: no limit
    std::chrono::milliseconds hold_background{0};  ///< once the VM runs
    bool keep_deliveries = false;                  ///< see Ledger::keep_deliveries()
};

class DataPlane {
  public:
    static Result<std::unique_ptr<DataPlane>> create(DataPlaneSockets sockets, SourceImage image,
                                                     DataPlaneOptions options,
                                                     std::vector<GuideFeed> guide);
    ~DataPlane() { stop(); }
    DataPlane(const DataPlane&) = delete;
    DataPlane& operator=(const DataPlane&) = delete;

    /// Before start().
    void set_warm(WarmPages warm) { pusher_.set_warm(std::move(warm)); }
    void start();
    /// Ends all threads, whatever they wait for, and closes the channels to the destination. May be
    /// called twice.
    void stop();
    /// After stop(), for a source that has switched over: see StreamRelay::drain().
    Result<void> drain_source(std::chrono::milliseconds timeout) { return relay_.drain(timeout); }
    /// After stop().
    void close_source() { source_.close(); }

    /// After stop(); none before the source has said what RAM blocks there are.
    [[nodiscard]] const Ledger* ledger() const { return ledger_; }

    [[nodiscard]] Notices& notices() { return notices_; }

    /// The guide's feeds are not used any more when this returns.
    void drop_guide() { pusher_.drop_guide(); }
    void on_resumed() { pusher_.on_resumed(); }
    void release_background() { pusher_.release_background(); }

    [[nodiscard]] ClassCounts pages() const;
    [[nodiscard]] ClassCounts bytes() const;

  private:
    DataPlane(DataPlaneSockets sockets, SourceImage image, DataPlaneOptions options,
              std::vector<GuideFeed> guide, Waker notices, Waker wake, Waker stop);

    Result<Ledger*> on_blocks(const stream::RamBlockList& blocks, std::uint32_t ram_section);
    /// A thread's end: an error that is not our own doing is for the control loop.
    void ended(const Result<void>& result);
    void push();

    const bool keep_deliveries_;
    SourceImage image_;
    Notices notices_;
    Waker wake_;  ///< the pusher's
    SourceSocket source_;
    PageSender sender_;
    AskedPages asked_;
    std::unique_ptr<Ledger> ledger_storage_;
    std::atomic<Ledger*> ledger_ = nullptr;  ///< set once, by the relay thread
    StreamRelay relay_;
    PageServer server_;
    Pusher pusher_;
    std::atomic<bool> stopping_ = false;
    std::vector<std::thread> threads_;  ///< relay, serve; push joins them at switch-over
};

}  // namespace gc

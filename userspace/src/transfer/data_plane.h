// SPDX-License-Identifier: GPL-2.0-or-later
// Everything that moves pages: four threads around one ledger.
//
//   relay    reads the source QEMU's stream (StreamRelay)
//   serve    reads the destination's return path and answers its page requests (PageServer)
//   guide    after switch-over: sends what the guide touches (GuidePusher)
//   bulk     while the guide has nothing to send: what follows the pages that were asked for, the
//            hot set and the background (BulkPusher)
#pragma once

#include "transfer/bulk_pusher.h"
#include "transfer/guide_pusher.h"
#include "transfer/notice.h"
#include "transfer/page_server.h"
#include "transfer/stream_relay.h"

#include <atomic>
#include <memory>
#include <thread>

namespace gc::transfer {

struct DataPlaneSockets {
    UniqueFd source;  ///< the source QEMU's migration socket
    PageChannels channels;
};

struct DataPlaneOptions {
    std::uint64_t bandwidth = 0;                   ///< bytes per second; 0: no limit
    std::chrono::milliseconds guide_wait{0};       ///< of the device state, at most
    std::uint64_t next_pages = 0;                  ///< sent ahead after each that is asked for
    std::chrono::milliseconds hold_background{0};  ///< once the VM runs
    bool keep_deliveries = false;                  ///< see Ledger::keep_deliveries()
    Marks marks{};                                 ///< for a traffic policy
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

    /// Before start().
    void set_warm(WarmPages warm) { bulk_.set_warm(std::move(warm)); }
    void start();
    /// Ends all threads, whatever they wait for, and closes the channels to the destination. May be
    /// called twice.
    void stop();
    /// After stop(), for a source that has switched over: see StreamRelay::drain().
    Result<void> drain_source(std::chrono::milliseconds timeout) { return relay_.drain(timeout); }
    /// After stop().
    void close_source() { source_.close(); }

    /// After stop(); none before the source has said what RAM blocks there are.
    [[nodiscard]] const ledger::Ledger* ledger() const { return ledger_; }

    [[nodiscard]] Notices& notices() { return notices_; }

    /// Before switch-over: bytes of pre-copy on their way from the source QEMU to the destination.
    [[nodiscard]] std::uint64_t under_way() const {
        // In their direction, so that none is missed that goes from one place to the next.
        return source_.unread() + relay_.in_hand() + sender_.under_way();
    }

    /// The guide's feeds are not used any more when this returns.
    void drop_guide() { guide_.drop_guide(); }
    /// See StreamRelay.
    void release_state() { relay_.release_state(); }
    [[nodiscard]] std::chrono::nanoseconds state_waited() const { return relay_.state_waited(); }
    void on_resumed() { bulk_.on_resumed(); }
    void release_background() { bulk_.release_background(); }

    [[nodiscard]] ledger::ClassCounts pages() const;
    [[nodiscard]] ledger::ClassCounts bytes() const;
    /// Pages that were sent because they follow one that was asked for.
    [[nodiscard]] std::uint64_t next_sent() const { return bulk_.next_sent(); }

  private:
    DataPlane(DataPlaneSockets sockets, image::SourceImage image, DataPlaneOptions options,
              std::vector<capture::BlockRecords> guide, std::array<Waker, 4> wakers);

    Result<ledger::Ledger*> on_blocks(const stream::RamBlockList& blocks,
                                      std::uint32_t ram_section);
    /// A thread's end: an error that is not our own doing is for the control loop.
    void ended(const Result<void>& result);
    /// Waits for switch-over. @return null if it will not come
    ledger::Ledger* await_switch_over(const Waker& wake);
    void push_guide();
    void push_bulk();

    const bool keep_deliveries_;
    image::SourceImage image_;
    Notices notices_;
    Waker wake_relay_;
    Waker wake_guide_;
    Waker wake_bulk_;
    SourceSocket source_;
    PageSender sender_;
    AskedPages asked_;
    NextPages next_;
    std::unique_ptr<ledger::Ledger> ledger_storage_;
    std::atomic<ledger::Ledger*> ledger_ = nullptr;  ///< set once, by the relay thread
    StreamRelay relay_;
    PageServer server_;
    GuidePusher guide_;
    BulkPusher bulk_;
    std::atomic<bool> stopping_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace gc::transfer

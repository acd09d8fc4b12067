// SPDX-License-Identifier: GPL-2.0-or-later
// Reads the source QEMU's stream. Before switch-over it relays everything to the destination;
// afterwards only the pages of RAM blocks that the image does not cover (ROMs, video memory). These
// are fetched as soon as the VM runs and sent last: from then on the source QEMU may die.
#pragma once

#include "ledger/ledger.h"
#include "stream/reader.h"
#include "transfer/gather.h"
#include "transfer/guide_origin.h"
#include "transfer/notice.h"
#include "transfer/page_sender.h"
#include "transfer/preempt_channel.h"
#include "transfer/source_socket.h"
#include "util/block_buffer.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace gc::transfer {

/// Requested pages of blocks that the image does not cover. Thread-safe.
class AskedPages {
  public:
    /// @param added signalled when a page is added
    explicit AskedPages(const Waker& added) : added_(added) {}

    void add(PageRef page) {
        const std::lock_guard lock(mutex_);
        pages_.emplace(page.block, page.number);
        added_.signal();
    }
    /// Removes the page. @return whether it was requested
    bool take(PageRef page) {
        const std::lock_guard lock(mutex_);
        return pages_.erase({page.block, page.number}) > 0;
    }
    [[nodiscard]] bool any() const {
        const std::lock_guard lock(mutex_);
        return !pages_.empty();
    }
    [[nodiscard]] std::vector<PageRef> list() const {
        const std::lock_guard lock(mutex_);
        std::vector<PageRef> list;
        for (const auto& [block, number] : pages_)
            list.push_back({block, number});
        return list;
    }

  private:
    const Waker& added_;
    mutable std::mutex mutex_;
    std::set<std::pair<std::size_t, std::uint64_t>> pages_;
};

class StreamRelay {
  public:
    /// Called once, with the RAM blocks, before the first page.
    using OnBlocks = std::function<Result<ledger::Ledger*>(const stream::RamBlockList& blocks,
                                                           std::uint32_t ram_section)>;
    /// Called once, when the ledger is sealed and the package has been sent.
    using OnSwitchOver = std::function<void()>;

    /// @param wake wakes the thread; signalled by `asked` and this object
    /// @param guide_wait how long the device state waits for release_state(), at most
    StreamRelay(SourceSocket& source, PreemptChannel& preempt, PageSender& sender,
                const image::SourceImage& image, AskedPages& asked, KeptPages& kept,
                GuideOrigin& origin, Notices& notices, OnSwitchOver on_switch_over,
                const Waker& wake, OnBlocks on_blocks, std::chrono::milliseconds guide_wait);

    /// The thread's body: returns when nothing more is needed from the source, when stop() was
    /// called, or with an error.
    Result<void> run();
    /// From any thread.
    void stop() {
        stopping_ = true;
        wake_.signal();
    }
    /// The VM runs: the uncovered blocks are read from the source now. Before, they would delay
    /// the device state and the guide. From any thread.
    void fetch_rest() {
        fetch_wanted_ = true;
        wake_.signal();
    }
    /// The whole image has been sent. Unless requested, uncovered blocks wait for that. From any
    /// thread.
    void send_rest() {
        rest_wanted_ = true;
        wake_.signal();
    }

    /// The guide runs, or never will. Only then does the destination get the last byte of the
    /// device state: the VM's timers start when the state is loaded, even if the VM itself starts
    /// later (kvm_apic_put() in hw/i386/kvm/apic.c, 7.2), and the guide's timers must be ahead of
    /// them. From any thread.
    void release_state() {
        released_ = true;
        wake_.signal();
    }
    /// How long the last byte waited for release_state(). From any thread.
    [[nodiscard]] std::chrono::nanoseconds state_waited() const { return waited_; }

    /// After run() has returned: lets a source that has switched over complete its migration, by
    /// reading the rest of its stream and telling it that everything has arrived. Takes as long as
    /// copying the rest of its memory through a socket. Errors: io, protocol.
    Result<void> drain(std::chrono::milliseconds timeout);

    /// Bytes read from the source and not yet written. From any thread.
    [[nodiscard]] std::uint64_t pending() const { return pending_bytes_; }
    /// Page records relayed before switch-over: their size in bytes, and how many were zero
    /// markers.
    [[nodiscard]] std::uint64_t precopy_bytes() const { return precopy_bytes_; }
    [[nodiscard]] std::uint64_t precopy_zeros() const { return precopy_zeros_; }

  private:
    enum class Mode {
        relaying,  ///< the source VM runs; every byte is relayed
        picking,   ///< switched over; only pages of uncovered blocks are forwarded
        verbatim,  ///< pre-copy converged: device state outside a package, relayed unchanged
        done,
    };

    Result<void> read();
    Result<void> consume(std::span<const std::byte>& input);
    Result<void> relay_item(const stream::Item& item, std::span<const std::byte> raw);
    Result<void> pick_item(const stream::Item& item);
    Result<void> pick_preempted();
    Result<void> precopy_pages(const stream::RamRun& run, std::span<const std::byte> raw);
    Result<void> relay_command(const stream::Command& command, std::span<const std::byte> raw);
    Result<void> switch_over(const stream::Package& package, std::span<const std::byte> raw);
    Result<void> ensure_discard();
    [[nodiscard]] stream::GuideState guide_state(std::span<const std::byte> devices) const;
    /// Keeps the pages of a run for the guide, if they are not in the image.
    void keep(const stream::RamRun& run, std::span<const std::byte> raw);
    void await_guide();
    /// @param block its index in the ledger, which lists the blocks in the stream's order
    void pick(std::size_t block, std::uint64_t offset, const image::PageContent& content);
    /// Whether anything that the source sends now is needed.
    [[nodiscard]] bool reads_on() const;
    /// Has the source send every block that the image does not cover.
    Result<void> request_uncovered_blocks();
    /// The number of pages of these blocks that have not been delivered.
    [[nodiscard]] std::uint64_t uncovered_missing() const;
    /// Sends of the pages that were kept what is requested, and all once send_rest() was called.
    Result<void> send_kept();
    Result<void> send_kept(PageRef page);
    Result<void> flush();

    SourceSocket& source_;
    PreemptChannel& preempt_;
    PageSender& sender_;
    const image::SourceImage& image_;
    AskedPages& asked_;
    KeptPages& kept_;
    GuideOrigin& origin_;
    Notices& notices_;
    OnSwitchOver on_switch_over_;
    const Waker& wake_;
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> fetch_wanted_ = false;
    std::atomic<bool> rest_wanted_ = false;
    std::atomic<bool> released_ = false;  ///< the device state
    bool requested_ = false;              ///< the uncovered blocks
    std::uint64_t lacking_ = 0;  ///< their pages that are neither delivered nor kept, if picking
    OnBlocks on_blocks_;
    std::chrono::milliseconds guide_wait_;
    std::atomic<std::chrono::nanoseconds> waited_{};
    ledger::Ledger* ledger_ = nullptr;
    stream::Reader reader_;
    BlockBuffer buffer_;        ///< read and not yet consumed by the reader
    bool ended_ = false;        ///< the source's end of file was read
    bool source_gone_ = false;  ///< nothing more comes from it, if picking
    Mode mode_ = Mode::relaying;
    std::uint32_t ram_section_ = 0;
    bool discarded_ = false;
    Gather pending_;                   ///< relayed and not yet written; most bytes are in buffer_
    std::vector<std::byte> preamble_;  ///< file header and configuration, for the guide
    std::atomic<std::uint64_t> pending_bytes_ = 0;
    std::atomic<std::uint64_t> precopy_bytes_ = 0;
    std::atomic<std::uint64_t> precopy_zeros_ = 0;
};

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
// Reads the source QEMU's stream. Before switch-over all of it goes on to the destination;
// afterwards only the pages that the image lacks (ROMs, video memory).
#pragma once

#include "ledger/ledger.h"
#include "stream/reader.h"
#include "transfer/gather.h"
#include "transfer/notice.h"
#include "transfer/page_sender.h"
#include "transfer/read_buffer.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace gc::transfer {

/// The socket to the source QEMU, which several threads write to.
class SourceSocket {
  public:
    explicit SourceSocket(UniqueFd fd) : fd_(std::move(fd)) {}

    [[nodiscard]] int fd() const { return fd_.get(); }
    Result<void> write(std::span<const std::byte> bytes);
    /// Bytes that the source has written and nobody has read.
    [[nodiscard]] std::uint64_t unread() const;
    /// When no thread uses it any more.
    void close() { fd_.reset(); }

  private:
    UniqueFd fd_;
    std::mutex mutex_;
};

/// Pages in blocks without an image that the destination waits for. Thread-safe.
class AskedPages {
  public:
    /// @param added signalled when there is one more
    explicit AskedPages(const Waker& added) : added_(added) {}

    void add(PageRef page) {
        const std::lock_guard lock(mutex_);
        pages_.emplace(page.block, page.number);
        added_.signal();
    }
    /// @return whether it was among them
    bool take(PageRef page) {
        const std::lock_guard lock(mutex_);
        return pages_.erase({page.block, page.number}) > 0;
    }
    [[nodiscard]] bool any() const {
        const std::lock_guard lock(mutex_);
        return !pages_.empty();
    }

  private:
    const Waker& added_;
    mutable std::mutex mutex_;
    std::set<std::pair<std::size_t, std::uint64_t>> pages_;
};

class StreamRelay {
  public:
    /// Told once, before the first page, what RAM blocks there are.
    using OnBlocks = std::function<Result<ledger::Ledger*>(const stream::RamBlockList& blocks,
                                                           std::uint32_t ram_section)>;
    /// Told once, when the ledger is sealed and the package has left.
    using OnSwitchOver = std::function<void()>;

    /// @param wake readable when the thread should look again: `asked` signals it, and this object
    /// @param guide_wait the longest that the device state waits for release_state()
    StreamRelay(SourceSocket& source, PageSender& sender, const image::SourceImage& image,
                AskedPages& asked, Notices& notices, OnSwitchOver on_switch_over, const Waker& wake,
                OnBlocks on_blocks, std::chrono::milliseconds guide_wait);

    /// The thread's body: returns when nothing more is wanted of the source, when stop() was
    /// called, or with an error.
    Result<void> run();
    /// From any thread.
    void stop() {
        stopping_ = true;
        wake_.signal();
    }
    /// All of the image has been sent. What it lacks waits for that, but for pages that are asked
    /// for: it would only be in the way of the device state and of the guide. From any thread.
    void fetch_rest() {
        rest_wanted_ = true;
        wake_.signal();
    }

    /// The guide runs, or never will. The destination gets the device state's last byte only then:
    /// the VM's timers begin when it loads that, whenever the VM itself may begin (kvm_apic_put()
    /// in hw/i386/kvm/apic.c, 7.2), and those of its guide must be ahead. From any thread.
    void release_state() {
        released_ = true;
        wake_.signal();
    }
    /// How long it waited for that, once it was otherwise written. From any thread.
    [[nodiscard]] std::chrono::nanoseconds state_waited() const { return waited_; }

    /// After run() has returned: lets a source that has switched over end its migration in good
    /// order, by taking the rest of its stream and telling it that all has arrived. Takes as long
    /// as copying the rest of its memory through a socket does. Errors: io, protocol.
    Result<void> drain(std::chrono::milliseconds timeout);

    /// Bytes that have been read from the source and are not written yet. From any thread.
    [[nodiscard]] std::uint64_t in_hand() const { return in_hand_; }
    /// Page records relayed before switch-over: their bytes, and how many of them were zero
    /// markers.
    [[nodiscard]] std::uint64_t precopy_bytes() const { return precopy_bytes_; }
    [[nodiscard]] std::uint64_t precopy_zeros() const { return precopy_zeros_; }

  private:
    enum class Mode {
        relaying,  ///< the source VM runs; every byte goes on
        picking,   ///< switched over; only pages that the image lacks go on
        verbatim,  ///< pre-copy converged: device state outside a package, relayed as it is
        done,
    };

    Result<void> consume(std::span<const std::byte>& input);
    Result<void> relay_item(const stream::Item& item, std::span<const std::byte> raw);
    Result<void> pick_item(const stream::Item& item);
    Result<void> precopy_pages(const stream::RamRun& run, std::span<const std::byte> raw);
    Result<void> relay_command(const stream::Command& command, std::span<const std::byte> raw);
    Result<void> switch_over(const stream::Package& package, std::span<const std::byte> raw);
    Result<void> ensure_discard();
    void await_guide();
    /// @param block its index in the ledger, which lists the blocks in the stream's order
    Result<void> pick(std::size_t block, std::uint64_t offset, PageSender::Content content);
    /// Whether any of what the source sends now is wanted.
    [[nodiscard]] bool reads_on() const;
    /// Has the source send every block that the image does not cover.
    Result<void> request_uncovered_blocks();
    /// Whether every block that the image does not cover has been delivered.
    [[nodiscard]] bool uncovered_blocks_done() const;
    Result<void> flush();

    SourceSocket& source_;
    PageSender& sender_;
    const image::SourceImage& image_;
    AskedPages& asked_;
    Notices& notices_;
    OnSwitchOver on_switch_over_;
    const Waker& wake_;
    std::atomic<bool> stopping_ = false;
    std::atomic<bool> rest_wanted_ = false;
    std::atomic<bool> released_ = false;  ///< the device state
    bool requested_ = false;              ///< the uncovered blocks
    OnBlocks on_blocks_;
    std::chrono::milliseconds guide_wait_;
    std::atomic<std::chrono::nanoseconds> waited_{};
    ledger::Ledger* ledger_ = nullptr;
    stream::Reader reader_;
    ReadBuffer buffer_;   ///< read, and not yet taken by the reader
    bool ended_ = false;  ///< the source's end of file was read
    Mode mode_ = Mode::relaying;
    std::uint32_t ram_section_ = 0;
    bool discarded_ = false;
    Gather pending_;                   ///< relayed bytes not yet written; most are in buffer_
    std::vector<std::byte> preamble_;  ///< file header and configuration, for the guide
    std::atomic<std::uint64_t> in_hand_ = 0;
    std::atomic<std::uint64_t> precopy_bytes_ = 0;
    std::atomic<std::uint64_t> precopy_zeros_ = 0;
};

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
// The channels to the destination, and the only place where pages are claimed and written.
#pragma once

#include "image/source_image.h"
#include "ledger/ledger.h"
#include "stream/writer.h"
#include "transfer/backlog.h"
#include "transfer/frame_compressor.h"
#include "transfer/gather.h"
#include "transfer/link_cost.h"
#include "transfer/outlet.h"
#include "transfer/pacer.h"
#include "transfer/page_ref.h"
#include "util/mailbox.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gc::transfer {

/// They must outlive their users.
struct PageChannels {
    peer::Channel* main = nullptr;  ///< QEMU's stream; after switch-over, guide pages
    peer::Channel* bulk = nullptr;  ///< after switch-over, pages that may wait: warm and background
    peer::Channel* urgent = nullptr;  ///< QEMU's preempt channel; if null, urgent pages go on main
};

/// Thread-safe. A page is claimed in the ledger under the lock of the channel on which it is then
/// written. So with all locks held, a full ledger means that everything is written; see finish().
///
/// Lock order: urgent, main, bulk.
class PageSender {
  public:
    /// Page data in one section of main, in bytes. An urgent page waits for this much if it has no
    /// channel of its own.
    static constexpr std::size_t section_data = 16 * page_size;
    /// The same for bulk, whose sections are far smaller on a slow path (BulkWindow::piece()). A
    /// guide page waits for one at the destination, while it is being forwarded to QEMU.
    static constexpr std::size_t bulk_section_data = 64 * page_size;

    using Content = image::PageContent;

    PageSender(const PageChannels& channels, const Marks& marks, std::uint64_t bandwidth,
               const Waker& full);

    /// Call it before anything is sent. Without it, nothing is compressed.
    /// @param known what the other gcctl can undo
    /// @param frame_urgent whether the urgent channel is in frames, as those of version 9 have it
    void compress(Compress wish, std::span<const peer::Compression> known, bool frame_urgent);

    /// Call it once, when the source has announced its RAM blocks and before pages are sent.
    /// @param image_index for each block of the ledger its index in the image, or SourceImage::none
    /// @param ram_section the id of the source's section "ram"
    void begin(ledger::Ledger& ledger, const image::SourceImage& image,
               std::vector<std::size_t> image_index, std::uint32_t ram_section);

    /// Writes bytes of the source's stream to main, unchanged and paced.
    Result<void> relay(const Gather& bytes);
    /// How many bytes to relay at once: few on a slow path. For the relay thread only.
    [[nodiscard]] std::size_t relay_piece() const { return 2 * main_.unsent_limit(); }

    /// Bytes on main that have not arrived yet. From any thread.
    [[nodiscard]] std::uint64_t in_flight() const { return main_.in_flight(); }

    /// Writes everything up to the last bytes of the package. Not paced: the VM is stopped.
    Result<void> begin_switch_over(const Gather& bytes);
    /// Seals the ledger and writes the end of the package: no page claimed later can overtake it.
    /// Not paced.
    Result<void> switch_over(const Gather& bytes);

    /// Sends a requested page at once, with all of its granule. @return false if it was already
    /// delivered; if it is still queued on main or bulk, hurries that channel
    Result<bool> send_urgent(PageRef page);

    struct Sent {
        std::size_t done = 0;       ///< how many of the pages, from the first, were handled
        std::size_t delivered = 0;  ///< how many pages the section holds; 0 if none was sent
        std::chrono::steady_clock::time_point at{};  ///< when it began to be written
        std::uint64_t bytes = 0;                     ///< of bulk: written for it
    };
    /// Sends those of the pages that are not delivered yet, each with all of its granule, in one
    /// section, until the section is full. All must be in blocks of the image. Guide pages go on
    /// main, in sections no larger than the unsent limit; other classes go on bulk.
    /// @param known what is known of all of the pages; known data is sent from its file if it is in
    /// one
    /// @param contents of each page, which must be a granule of its own; if empty, they are read
    /// @param view may show the pages; null: nothing does
    Result<Sent> send(std::span<const PageRef> pages, ledger::PageClass as,
                      image::SourceImage::Known known = image::SourceImage::Known::nothing,
                      std::span<const Content> contents = {},
                      const image::SourceImage::View* view = nullptr);

    struct Told {
        std::uint64_t runs = 0;
        std::uint64_t pages = 0;
    };
    /// Claims those of these pages that are not delivered yet and tells the destination on bulk
    /// that they are zeros, which it then places by itself. Their block must be in the image, and
    /// its host pages must have 4 KiB.
    /// @param before number of runs told before: there is a limit to all of them together
    Result<Told> tell_zeros(std::size_t block, std::span<const ledger::PageRun> runs,
                            std::uint64_t before);

    /// Sends a page whose content came in the source's stream: on the urgent channel if it was
    /// requested, on main otherwise.
    /// @param hurried whether a requested page is behind it in that stream
    /// @return false if it was already delivered
    Result<bool> forward(PageRef page, Content content, bool requested, bool hurried);
    /// The VM is waiting for a page that is already claimed: hurries everything before it.
    void hurry(PageRef page);

    /// How long main and bulk must pause to keep to the bandwidth.
    [[nodiscard]] Pacer::Clock::duration rest() const;

    // Why a thread has waited, and how long: it decides what is compressed. From any thread.

    /// To keep to the bandwidth.
    void rested(LinkCost::Duration time) { link_.rested(time); }
    /// For the channel's socket.
    void waited_for_main(LinkCost::Duration time);
    /// For the destination to take what is on its way. Call it at the end of the wait: if most of
    /// it is no longer on its way, the destination's QEMU was waited for, and not the link.
    /// @param not_taken bytes of the frames that it has not taken
    void waited_for_bulk(LinkCost::Duration time, std::uint64_t not_taken);

    /// Ends the streams of all channels. Errors: protocol if a page is missing; nothing is sent
    /// then.
    Result<void> finish();

    /// Makes every blocked write fail, for good.
    void shut_down() const;
    /// Only when no thread uses it any more.
    void close() {
        main_.close();
        bulk_.close();
        urgent_.close();
    }

    /// Whether the image has a RAM block, given by its index in the ledger; after begin().
    [[nodiscard]] bool has_image(std::size_t block) const {
        return image_index_[block] != image::SourceImage::none;
    }

    /// Carries the return path from the destination.
    [[nodiscard]] peer::Channel& main() { return main_.channel(); }
    /// Whether a guide page sent now would not queue long in the socket. If not, wait for POLLOUT
    /// of main_socket(): a queued page cannot be sent as urgent if the VM comes to need it.
    [[nodiscard]] bool can_send_guide_page() const { return main_.writable(); }
    [[nodiscard]] int main_socket() const { return main_.socket(); }
    /// Readable when the destination has acknowledged frames of bulk, see take_acknowledged().
    [[nodiscard]] int bulk_fd() { return bulk_.channel().fd(); }
    /// Frames acknowledged since the last call. Errors: io if the channel has ended.
    [[nodiscard]] Result<std::size_t> take_acknowledged();

    /// Bytes written for pages of a class after switch-over, framing included.
    [[nodiscard]] std::uint64_t bytes(ledger::PageClass as) const { return bytes_[as]; }
    /// Pages sent after switch-over as zero markers, or told as zeros.
    [[nodiscard]] std::uint64_t zero_pages() const { return zero_pages_; }
    [[nodiscard]] const CompressionCounts& compression() const { return compression_; }
    /// What the link makes a byte cost. From any thread.
    [[nodiscard]] LinkCost::PerByte link_cost() const { return link_.per_byte(); }
    /// Bytes of relay() that were not sent, as they shrank.
    [[nodiscard]] std::uint64_t relay_saved() const { return relay_saved_; }

  private:
    /// Pages that are written together. Each channel reuses one, for its allocations.
    struct Batch {
        std::vector<PageRef> pages;
        std::vector<Content> contents;
        std::vector<std::byte> room;  ///< for page data that is not mapped; never grows
        std::size_t used = 0;         ///< bytes of room
        stream::Buffer heads;         ///< everything that is not page data
        std::vector<std::size_t> cuts;
        std::vector<iovec> parts;
        bool in_file = false;  ///< all pages are data and are sent from their file
        const image::SourceImage::View* view = nullptr;  ///< may show them
        std::vector<FileRun> runs;
        std::optional<peer::Compression> how;  ///< if they are to be compressed

        void clear();
        void add(PageRef page, Content content);
    };

    /// Claims the page's granule for the batch. @return false if it was already delivered
    bool claim(PageRef page, ledger::PageClass as, Batch& batch) const;
    /// Reads the pages of the batch from index `from`. @return bytes of data
    Result<std::size_t> read(Batch& batch, std::size_t from, image::SourceImage::Known known) const;
    /// Appends the pages' heads to `heads` and notes where each page's data belongs.
    /// @return the number of zero pages
    std::uint64_t append_heads(Batch& batch) const;
    /// Appends the heads and the page data between them to `parts`, by reference: `heads` must not
    /// change afterwards.
    static void append_parts(Batch& batch);
    /// Appends the pages' places in their files.
    void append_runs(Batch& batch) const;
    /// @return when it began to be written
    Result<std::chrono::steady_clock::time_point> write_section(Outlet& to, Backlog& backlog,
                                                                Batch& batch, ledger::PageClass as);
    Result<void> write_urgent(Batch& batch);
    /// Compresses the parts but the first, which is the frame's head, if they shrink. @return the
    /// frame's kind
    static peer::FrameKind compress_parts(FrameCompressor& with, Batch& batch,
                                          peer::FrameKind kind);
    /// How to compress a page that goes on main. Not at all where urgent pages go there, too: they
    /// must not wait for a compressor.
    [[nodiscard]] std::optional<peer::Compression> choose_for_main();
    void wrote(std::size_t bytes, LinkCost::Duration time);
    /// Adapts main's unsent limit to its delivery rate. @return the limit in bytes
    std::uint64_t limit_main();
    void spend(std::size_t bytes);
    void account(ledger::PageClass as, std::uint64_t bytes, std::uint64_t zero_pages);
    void check_full() const;

    LinkCost link_;
    CompressionCounts compression_;
    FrameCompressor main_compressor_{link_, compression_};    ///< under main_mutex_
    FrameCompressor bulk_compressor_{link_, compression_};    ///< under bulk_mutex_
    FrameCompressor urgent_compressor_{link_, compression_};  ///< under urgent_mutex_
    bool frame_urgent_ = false;
    std::atomic<std::uint64_t> relay_saved_ = 0;
    Outlet main_;
    Outlet bulk_;
    Outlet urgent_;
    Backlog main_backlog_;
    Backlog bulk_backlog_;
    const Waker& full_;  ///< signalled when the ledger has become full
    ledger::Ledger* ledger_ = nullptr;
    const image::SourceImage* image_ = nullptr;
    std::vector<std::size_t> image_index_;
    std::size_t granule_room_ = 0;  ///< size of the largest granule that is not mapped, in bytes
    std::uint32_t ram_section_ = 0;
    std::mutex urgent_mutex_;
    std::mutex main_mutex_;
    std::mutex bulk_mutex_;
    Batch urgent_batch_;              ///< under urgent_mutex_
    Batch main_batch_;                ///< under main_mutex_
    Batch bulk_batch_;                ///< under bulk_mutex_
    mutable std::mutex pacer_mutex_;  ///< taken last
    Pacer pacer_;
    ledger::PerClass<std::atomic<std::uint64_t>> bytes_;
    std::atomic<std::uint64_t> zero_pages_ = 0;
};

}  // namespace gc::transfer

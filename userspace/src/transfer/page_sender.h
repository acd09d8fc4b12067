// SPDX-License-Identifier: GPL-2.0-or-later
// The channels to the destination, and the one place where pages are claimed and written.
#pragma once

#include "image/source_image.h"
#include "ledger/ledger.h"
#include "stream/writer.h"
#include "transfer/backlog.h"
#include "transfer/gather.h"
#include "transfer/outlet.h"
#include "transfer/pacer.h"
#include "transfer/page_ref.h"
#include "util/fd.h"
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

struct PageChannels {
    UniqueFd main;    ///< QEMU's stream; after switch-over the guide's pages
    UniqueFd bulk;    ///< after switch-over, what may wait: warm pages and the background
    UniqueFd urgent;  ///< QEMU's preempt channel, or none: urgent pages then go on main
};

/// Thread-safe. A page is claimed in the ledger under the lock of the channel that it is then
/// written to, so that "the ledger is full" and all locks held means "all is written": see
/// finish().
///
/// Order of the locks: urgent, main, bulk.
class PageSender {
  public:
    /// Page data that one section of main holds, in bytes: what an urgent page waits for where
    /// there is no channel of its own for it.
    static constexpr std::size_t section_data = 16 * page_size;
    /// The same of bulk, where on a slow path they are far smaller (BulkWindow::piece()). A guide
    /// page waits for it at the destination, while it is handed to QEMU.
    static constexpr std::size_t bulk_section_data = 64 * page_size;

    using Content = image::PageContent;

    PageSender(PageChannels channels, const Marks& marks, std::uint64_t bandwidth,
               const Waker& full);

    /// Where the pages are, once the source has said what RAM blocks there are.
    /// @param image_index for each block of the ledger its index in the image, or SourceImage::none
    /// @param ram_section the id that the source gave its section "ram"
    void begin(ledger::Ledger& ledger, const image::SourceImage& image,
               std::vector<std::size_t> image_index, std::uint32_t ram_section);

    /// Writes bytes of the source's stream to main as they are. Paced.
    Result<void> relay(const Gather& bytes);
    /// Bytes that are best relayed at once: on a slow path few. By the thread that relays.
    [[nodiscard]] std::size_t relay_piece() const { return 2 * main_.unsent_limit(); }

    /// Bytes on main that have not arrived yet. From any thread.
    [[nodiscard]] std::uint64_t under_way() const { return main_.unacknowledged(); }

    /// Writes what comes before the last bytes of pre-copy. Not paced, as the VM is stopped.
    Result<void> begin_switch_over(const Gather& bytes);
    /// Writes these, the package's end, and seals the ledger: no page that is claimed afterwards
    /// can overtake them. Not paced either.
    Result<void> switch_over(const Gather& bytes);

    /// Sends a page that the destination asked for, at once, with all of its granule. @return false
    /// if it was delivered already; if it still waits in the socket of main or bulk, that hurries
    Result<bool> send_urgent(PageRef page);

    /// Sends those of the pages, all in blocks of the image, that are not delivered yet, in one
    /// section, each with all of its granule, as long as that has room for one more page's bytes:
    /// the guide's on main, where a section is no more than may wait there, others on bulk.
    struct Sent {
        std::size_t done = 0;       ///< so many of the pages, from the first on
        std::size_t delivered = 0;  ///< so many pages were in the section; 0: there was none
    };
    /// @param known of each of the pages; those of data are sent from their file, if they are in
    /// one
    /// @param contents of each of the pages, each a granule of its own; or nothing: they are read
    Result<Sent> send(std::span<const PageRef> pages, ledger::PageClass as,
                      image::SourceImage::Known known = image::SourceImage::Known::nothing,
                      std::span<const Content> contents = {});

    /// Sends a page whose content came in the source's stream; on the urgent channel if it was
    /// asked for, else on main.
    /// @param hurried whether one is asked for that comes behind it in that stream
    /// @return false if it was delivered already
    Result<bool> forward(PageRef page, Content content, bool asked, bool hurried);
    /// The VM waits for a page that was claimed already: all that is before it hurries.
    void hurry(PageRef page);

    /// How long main and bulk must rest to keep to the bandwidth.
    [[nodiscard]] Pacer::Clock::duration rest() const;

    /// Ends all channels' streams. Errors: protocol when a page is missing (then nothing is sent).
    Result<void> finish();

    /// Makes every blocked write fail, for good.
    void shut_down() const;
    /// When no thread uses it any more.
    void close() {
        main_.close();
        bulk_.close();
        urgent_.close();
    }

    /// Whether the image has a RAM block, given by its index in the ledger; after begin().
    [[nodiscard]] bool has_image(std::size_t block) const {
        return image_index_[block] != image::SourceImage::none;
    }

    [[nodiscard]] int main_fd() const { return main_.fd(); }
    /// Whether a page that is sent for the guide does not wait long for those before it. Until
    /// then it is better not sent: the VM may come to need it at once. Else wait for POLLOUT.
    [[nodiscard]] bool takes_guide_pages() const { return main_.writable(); }
    /// Readable when the destination has taken frames of bulk, see take_acknowledged().
    [[nodiscard]] int bulk_fd() const { return bulk_.fd(); }
    /// How many since the last call. Errors: io when the channel has ended.
    [[nodiscard]] Result<std::size_t> take_acknowledged() const;

    /// Bytes written for pages of a class after switch-over, framing included.
    [[nodiscard]] std::uint64_t bytes(ledger::PageClass as) const { return bytes_[as]; }
    /// Of the pages sent after switch-over, those sent as zero markers.
    [[nodiscard]] std::uint64_t zero_pages() const { return zero_pages_; }

  private:
    /// Pages that are written together. Kept from one to the next for its memory.
    struct Batch {
        std::vector<PageRef> pages;
        std::vector<Content> contents;
        std::vector<std::byte> room;  ///< for bytes that are not mapped; does not grow
        std::size_t used = 0;         ///< of the room
        stream::Buffer heads;         ///< all that is not page data
        std::vector<std::size_t> cuts;
        std::vector<iovec> parts;
        bool in_file = false;  ///< all pages are data, and sent from there
        std::vector<FileRun> runs;

        void clear();
        void add(PageRef page, Content content);
    };

    /// Claims the page's granule for the batch. @return false if it was delivered already
    bool claim(PageRef page, ledger::PageClass as, Batch& batch) const;
    /// Reads the pages of the batch from the one at `from` on. @return bytes of their data
    Result<std::size_t> read(Batch& batch, std::size_t from, image::SourceImage::Known known) const;
    /// Puts the pages' heads after what is in `heads`, and notes where each page's data belongs.
    /// @return the number of pages of zeros
    std::uint64_t put_heads(Batch& batch) const;
    /// The heads, in a buffer that moves no more, with page data in between straight from where it
    /// is.
    static void put_parts(Batch& batch);
    /// Where the pages are, in files.
    void put_runs(Batch& batch) const;
    Result<void> write_section(Outlet& to, Backlog& backlog, Batch& batch, ledger::PageClass as);
    Result<void> write_urgent(Batch& batch);
    /// As it suits what main carries now. @return bytes that may wait unsent
    std::uint64_t limit_main();
    void spend(std::size_t bytes);
    void account(ledger::PageClass as, std::uint64_t bytes, std::uint64_t zero_pages);
    void check_full() const;

    Outlet main_;
    Outlet bulk_;
    Outlet urgent_;
    Backlog main_backlog_;
    Backlog bulk_backlog_;
    const Waker& full_;  ///< signalled when the ledger has become full
    ledger::Ledger* ledger_ = nullptr;
    const image::SourceImage* image_ = nullptr;
    std::vector<std::size_t> image_index_;
    std::size_t granule_room_ = 0;  ///< the biggest granule that is not mapped, in bytes
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

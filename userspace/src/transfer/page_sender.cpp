// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/page_sender.h"

#include "peer/zero_runs.h"
#include "transfer/unsent_limit.h"

#include <algorithm>
#include <sys/socket.h>

namespace gc::transfer {
namespace {

using Clock = std::chrono::steady_clock;

/// Main's first bytes are never compressed: the destination needs the stream's head before all
/// else.
constexpr std::uint64_t never_compressed = 4096;
/// A write that took longer met a connection that was lost.
constexpr std::chrono::seconds max_write_time{1};

std::size_t bytes_in(std::span<const iovec> parts) {
    std::size_t size = 0;
    for (const iovec& part : parts)
        size += part.iov_len;
    return size;
}

}  // namespace

PageSender::PageSender(const PageChannels& channels, const Marks& marks, std::uint64_t bandwidth,
                       const Waker& full)
    : main_(channels.main, marks), bulk_(channels.bulk, marks), urgent_(channels.urgent, marks),
      full_(full), pacer_(bandwidth) {
    main_.limit_unsent(max_unsent);
    bulk_.limit_unsent(max_unsent);
}

void PageSender::compress(Compress wish, std::span<const peer::Compression> known,
                          bool frame_urgent) {
    main_compressor_.use(wish, known);
    bulk_compressor_.use(wish, known);
    urgent_compressor_.use_fast(wish, known);
    frame_urgent_ = frame_urgent;
}

void PageSender::begin(ledger::Ledger& ledger, const image::SourceImage& image,
                       std::vector<std::size_t> image_index, std::uint32_t ram_section) {
    ledger_ = &ledger;
    image_ = &image;
    image_index_ = std::move(image_index);
    ram_section_ = ram_section;
    for (std::size_t block = 0; block < image_index_.size(); ++block)
        if (image_index_[block] != image::SourceImage::none && image.is_copied(image_index_[block]))
            granule_room_ = std::max(granule_room_, ledger.granule(block) * page_size);
    urgent_batch_.room.resize(granule_room_);
    if (granule_room_ > 0) {
        main_batch_.room.resize(section_data + granule_room_);
        bulk_batch_.room.resize(bulk_section_data + granule_room_);
    }
}

void PageSender::Batch::clear() {
    pages.clear();
    contents.clear();
    used = 0;
    heads.clear();
    cuts.clear();
    parts.clear();
    in_file = false;
    view = nullptr;
    runs.clear();
    how.reset();
}

void PageSender::Batch::add(PageRef page, Content content) {
    pages.push_back(page);
    contents.push_back(content);
}

Result<void> PageSender::relay(const Gather& bytes) {
    const std::lock_guard lock(main_mutex_);
    limit_main();
    std::optional<std::span<const std::byte>> shrunk;
    if (ledger_ != nullptr && main_.written() >= never_compressed)
        if (const auto how = main_compressor_.choose(FrameCompressor::For::later, true))
            shrunk = main_compressor_.compress(*how, peer::FrameKind::stream, bytes.parts());
    const std::size_t size = shrunk ? shrunk->size() : bytes.size();
    spend(size);
    const auto begin = Clock::now();
    if (!shrunk) {
        GC_CHECK(main_.write_framed(ledger::PageClass::precopy, peer::FrameKind::stream,
                                    bytes.parts(), bytes.held()));
    } else {
        relay_saved_ += bytes.size() - size;
        std::array<iovec, 2> parts{{{}, {const_cast<std::byte*>(shrunk->data()), size}}};
        GC_CHECK(main_.write_frame(ledger::PageClass::precopy, peer::FrameKind::compressed, parts));
    }
    wrote(size, Clock::now() - begin);
    return {};
}

Result<void> PageSender::begin_switch_over(const Gather& bytes) {
    const std::lock_guard lock(main_mutex_);
    return main_.write_framed(ledger::PageClass::urgent, peer::FrameKind::stream, bytes.parts());
}

Result<void> PageSender::switch_over(const Gather& bytes) {
    const std::lock_guard lock(main_mutex_);
    ledger_->seal();
    return main_.write_framed(ledger::PageClass::urgent, peer::FrameKind::sections, bytes.parts());
}

bool PageSender::claim(PageRef page, ledger::PageClass as, Batch& batch) const {
    if (!ledger_->claim(page.block, page.number, as))
        return false;
    const std::uint64_t granule = ledger_->granule(page.block);
    const std::uint64_t first = page.number - page.number % granule;
    for (std::uint64_t number = first; number < first + granule; ++number)
        batch.add({page.block, number}, std::nullopt);
    return true;
}

Result<std::size_t> PageSender::read(Batch& batch, std::size_t from,
                                     image::SourceImage::Known known) const {
    std::size_t data = 0;
    while (from < batch.pages.size()) {
        const auto [block, first] = batch.pages[from];
        std::size_t end = from + 1;
        while (end < batch.pages.size() && batch.pages[end] == PageRef{block, first + (end - from)})
            ++end;
        const auto contents = std::span(batch.contents).subspan(from, end - from);
        GC_CHECK(image_->read(image_index_[block], first, contents,
                              std::span(batch.room).subspan(batch.used), known));
        const auto with_data = static_cast<std::size_t>(std::ranges::count_if(
            contents, [](const Content& content) { return content.has_value(); }));
        if (with_data > 0 && image_->is_copied(image_index_[block]))
            batch.used += contents.size() * page_size;
        data += with_data * page_size;
        from = end;
    }
    return data;
}

Result<bool> PageSender::send_urgent(PageRef page) {
    const std::lock_guard lock(urgent_mutex_);
    std::unique_lock main_lock(main_mutex_, std::defer_lock);
    if (!urgent_) {
        // The holder of the lock may be writing pages that are not urgent.
        main_.hurry(main_.written());
        main_lock.lock();
    }
    Batch& batch = urgent_batch_;
    batch.clear();
    if (!claim(page, ledger::PageClass::urgent, batch)) {
        hurry(page);
        return false;
    }
    GC_CHECK(read(batch, 0, image::SourceImage::Known::nothing));
    if (urgent_)
        GC_CHECK(write_urgent(batch));
    else
        GC_CHECK(write_section(main_, main_backlog_, batch, ledger::PageClass::urgent));
    check_full();
    return true;
}

void PageSender::hurry(PageRef page) {
    if (const auto end = main_backlog_.want(page)) {
        main_.hurry(*end);
    } else if (const auto bulk_end = bulk_backlog_.want(page)) {
        bulk_.hurry(*bulk_end);
        // The merger combines main and bulk: a section of main that has begun to arrive goes first.
        main_.hurry(main_.written());
    }
}

Result<PageSender::Sent> PageSender::send(std::span<const PageRef> pages, ledger::PageClass as,
                                          image::SourceImage::Known known,
                                          std::span<const Content> contents,
                                          const image::SourceImage::View* view) {
    const bool guide = as == ledger::PageClass::guide;
    const std::lock_guard lock(guide ? main_mutex_ : bulk_mutex_);
    Batch& batch = guide ? main_batch_ : bulk_batch_;
    batch.clear();
    // The bulk channel is limited by its sender's BulkWindow.
    const std::uint64_t max_data = guide ? std::min(limit_main(), section_data) : bulk_section_data;
    // Known pages have a known size and are read together below.
    const bool unknown = known == image::SourceImage::Known::nothing;
    if (guide)
        batch.how = choose_for_main();
    else if (known != image::SourceImage::Known::zeros)
        batch.how = bulk_compressor_.choose(FrameCompressor::For::later, true);
    // Bulk only: the merger buffers a whole bulk frame before forwarding it.
    batch.in_file = !guide && !batch.how && known == image::SourceImage::Known::data &&
                    std::ranges::all_of(pages, [this](const PageRef& page) {
                        return image_->is_in_file(image_index_[page.block]);
                    });
    std::size_t done = 0;
    for (std::size_t data = 0; done < pages.size() && data < max_data; ++done) {
        const std::size_t before = batch.pages.size();
        if (unknown && batch.room.size() - batch.used < granule_room_)
            break;
        if (!claim(pages[done], as, batch))
            continue;
        if (unknown) {
            GC_TRY(const std::size_t more, read(batch, before, known));
            data += more;
        } else if (known == image::SourceImage::Known::data) {
            data += (batch.pages.size() - before) * page_size;
            if (!contents.empty())
                batch.contents.back() = contents[done];
        }
    }
    if (batch.pages.empty())
        return Sent{done, 0};
    batch.view = view;
    if (batch.in_file)
        std::ranges::fill(batch.contents, std::span<const std::byte>());
    else if (!unknown && contents.empty())
        GC_CHECK(read(batch, 0, known));
    const std::uint64_t before = bulk_.written();
    GC_TRY(const auto at, guide ? write_section(main_, main_backlog_, batch, as)
                                : write_section(bulk_, bulk_backlog_, batch, as));
    check_full();
    return Sent{done, batch.pages.size(), at, guide ? 0 : bulk_.written() - before};
}

Result<PageSender::Told> PageSender::tell_zeros(std::size_t block,
                                                std::span<const ledger::PageRun> runs,
                                                std::uint64_t before) {
    // One call may claim 32 runs more than it is allowed to (Ledger::claim_zeros()).
    constexpr std::uint64_t limit = peer::max_zero_runs - 32;
    const std::lock_guard lock(bulk_mutex_);
    peer::ZeroRuns zeros{
        .ram_section = ram_section_, .block = ledger_->blocks()[block].name, .runs = {}};
    Told told;
    for (const ledger::PageRun& run : runs) {
        const std::uint64_t used = before + zeros.runs.size();
        if (used >= limit)
            break;
        const auto claimed = ledger_->claim_zeros(block, run, ledger::PageClass::background,
                                                  static_cast<std::size_t>(limit - used));
        for (const ledger::PageRun& mine : claimed)
            told.pages += mine.count;
        zeros.runs.insert(zeros.runs.end(), claimed.begin(), claimed.end());
    }
    told.runs = zeros.runs.size();
    if (told.runs == 0)
        return told;
    std::vector<std::byte> content = peer::encode(zeros);
    const std::size_t size = peer::frame_head_size + content.size();
    spend(size);
    account(ledger::PageClass::background, size, told.pages);
    std::array<iovec, 2> parts{{{}, {content.data(), content.size()}}};
    // Few bytes, and the VM may fault on each of these pages: as urgent as the guide's.
    GC_CHECK(bulk_.write_frame(ledger::PageClass::guide, peer::FrameKind::zeros, parts));
    check_full();
    return told;
}

std::uint64_t PageSender::limit_main() {
    const std::uint64_t limit = unsent_limit(main_.delivery_rate());
    main_.limit_unsent(limit);
    return limit;
}

Result<bool> PageSender::forward(PageRef page, Content content, bool requested, bool hurried) {
    const bool urgent = requested && urgent_;
    const std::lock_guard lock(urgent ? urgent_mutex_ : main_mutex_);
    const ledger::PageClass as =
        requested ? ledger::PageClass::urgent : ledger::PageClass::background;
    if (!ledger_->claim(page.block, page.number, as))
        return false;
    Batch& batch = urgent ? urgent_batch_ : main_batch_;
    batch.clear();
    batch.add(page, content);
    if (hurried && !urgent)
        main_.hurry(main_.written() + 1);
    if (!urgent)
        batch.how = choose_for_main();
    if (urgent)
        GC_CHECK(write_urgent(batch));
    else
        GC_CHECK(write_section(main_, main_backlog_, batch, as));
    check_full();
    return true;
}

std::uint64_t PageSender::append_heads(Batch& batch) const {
    std::size_t block = ledger::Ledger::no_block;
    std::uint64_t zeros = 0;
    for (std::size_t i = 0; i < batch.pages.size(); ++i) {
        const PageRef page = batch.pages[i];
        stream::append_page_head(batch.heads, page.number * page_size,
                                 page.block == block ? std::string_view{}
                                                     : ledger_->blocks()[page.block].name,
                                 !batch.contents[i]);
        block = page.block;
        if (!batch.contents[i]) {
            ++zeros;
            ledger_->sent_as_zero(page.block, page.number);
        }
        batch.cuts.push_back(batch.heads.size());
    }
    return zeros;
}

void PageSender::append_parts(Batch& batch) {
    std::size_t from = 0;
    for (std::size_t i = 0; i < batch.pages.size(); ++i) {
        const Content& content = batch.contents[i];
        if (!content)
            continue;
        batch.parts.push_back({batch.heads.data() + from, batch.cuts[i] - from});
        batch.parts.push_back({const_cast<std::byte*>(content->data()), content->size()});
        from = batch.cuts[i];
    }
    if (from < batch.heads.size())
        batch.parts.push_back({batch.heads.data() + from, batch.heads.size() - from});
}

void PageSender::append_runs(Batch& batch) const {
    for (const PageRef page : batch.pages) {
        const image::ImageBlock& block = image_->blocks()[image_index_[page.block]];
        const FileRun run{block.file.get(), block.offset + page.number * page_size, page_size, {}};
        if (!batch.runs.empty() && batch.runs.back().file == run.file &&
            batch.runs.back().offset + batch.runs.back().size == run.offset)
            batch.runs.back().size += run.size;
        else
            batch.runs.push_back(run);
    }
    for (FileRun& run : batch.runs)
        if (batch.view != nullptr)
            run.mapped = batch.view->bytes(run.file, run.offset, run.size);
}

Result<void> PageSender::write_urgent(Batch& batch) {
    const std::uint64_t zeros = append_heads(batch);
    if (!frame_urgent_) {
        append_parts(batch);
        account(ledger::PageClass::urgent, bytes_in(batch.parts), zeros);
        return urgent_.write(ledger::PageClass::urgent, batch.parts);
    }
    if (zeros < batch.pages.size())
        batch.how = urgent_compressor_.choose(FrameCompressor::For::soon, false);
    batch.parts.push_back({});  // the frame's head
    append_parts(batch);
    const auto kind = compress_parts(urgent_compressor_, batch, peer::FrameKind::stream);
    account(ledger::PageClass::urgent, bytes_in(batch.parts), zeros);
    return urgent_.write_frame(ledger::PageClass::urgent, kind, batch.parts);
}

peer::FrameKind PageSender::compress_parts(FrameCompressor& with, Batch& batch,
                                           peer::FrameKind kind) {
    if (!batch.how)
        return kind;
    const auto shrunk = with.compress(*batch.how, kind, std::span(batch.parts).subspan(1));
    if (!shrunk)
        return kind;
    batch.parts.resize(1);
    batch.parts.push_back({const_cast<std::byte*>(shrunk->data()), shrunk->size()});
    return peer::FrameKind::compressed;
}

std::optional<peer::Compression> PageSender::choose_for_main() {
    return urgent_ ? main_compressor_.choose(FrameCompressor::For::soon, true) : std::nullopt;
}

Result<Clock::time_point> PageSender::write_section(Outlet& to, Backlog& backlog, Batch& batch,
                                                    ledger::PageClass as) {
    stream::append_section_part(batch.heads, ram_section_);
    const std::uint64_t zeros = append_heads(batch);
    stream::append_end_of_ram(batch.heads);
    stream::append_section_footer(batch.heads, ram_section_);
    const std::vector<std::byte> cuts =
        batch.in_file ? peer::encode_cuts(batch.cuts) : std::vector<std::byte>{};
    batch.parts.push_back({});  // the frame's head
    auto kind = peer::FrameKind::split;
    if (batch.in_file) {
        batch.parts.push_back({const_cast<std::byte*>(cuts.data()), cuts.size()});
        batch.parts.push_back({batch.heads.data(), batch.heads.size()});
        append_runs(batch);
    } else {
        append_parts(batch);
        kind = compress_parts(&to == &bulk_ ? bulk_compressor_ : main_compressor_, batch,
                              peer::FrameKind::sections);
    }
    const std::size_t size =
        bytes_in(batch.parts) + (batch.in_file ? batch.pages.size() * page_size : 0);
    if (as != ledger::PageClass::urgent)
        spend(size);
    account(as, size, zeros);
    backlog.sent(to.sent());
    const std::uint64_t end = to.written() + peer::frame_head_size + size;
    if (backlog.add(batch.pages, end))
        to.hurry(end);
    // Main carries no background: even background pages that come from the stream keep guide
    // priority.
    const ledger::PageClass mark =
        &to == &bulk_ || as == ledger::PageClass::urgent ? as : ledger::PageClass::guide;
    const auto begin = Clock::now();
    GC_CHECK(to.write_frame(mark, kind, batch.parts, batch.runs));
    wrote(size, Clock::now() - begin);
    return begin;
}

void PageSender::wrote(std::size_t bytes, LinkCost::Duration time) {
    if (time < max_write_time)
        link_.sent(bytes, time);
}

void PageSender::waited_for_main(LinkCost::Duration time) {
    if (main_.connected())
        link_.waited(time);
}

void PageSender::waited_for_bulk(LinkCost::Duration time, std::uint64_t not_taken) {
    // Some of what has arrived may be unconfirmed by the other host's TCP, which can take its time.
    if (bulk_.connected() && 2 * bulk_.in_flight() > not_taken)
        link_.waited(time);
}

void PageSender::spend(std::size_t bytes) {
    const std::lock_guard lock(pacer_mutex_);
    pacer_.spend(bytes, Pacer::Clock::now());
}

Pacer::Clock::duration PageSender::rest() const {
    const std::lock_guard lock(pacer_mutex_);
    return pacer_.wait(Pacer::Clock::now());
}

void PageSender::account(ledger::PageClass as, std::uint64_t bytes, std::uint64_t zero_pages) {
    bytes_[as] += bytes;
    zero_pages_ += zero_pages;
}

void PageSender::check_full() const {
    if (ledger_->full())
        full_.signal();
}

Result<std::size_t> PageSender::take_acknowledged() {
    std::array<std::byte, 256> bytes;
    GC_TRY(const auto got, bulk_.channel().read_available(bytes));
    if (got == 0U)
        return fail(ErrorKind::io, "the destination closed the bulk channel");
    return got.value_or(0);
}

Result<void> PageSender::finish() {
    const std::lock_guard lock(urgent_mutex_);
    const std::lock_guard main_lock(main_mutex_);
    const std::lock_guard bulk_lock(bulk_mutex_);
    GC_CHECK(ledger_->check_eof());
    stream::Buffer end;
    if (urgent_) {
        stream::append_end_of_ram(end);
        iovec part{end.data(), end.size()};
        // Since 8.0 the destination closes this channel itself and may already have done so.
        if (frame_urgent_)
            (void)urgent_.write_framed(ledger::PageClass::urgent, peer::FrameKind::stream,
                                       std::span(&part, 1));
        else
            (void)urgent_.write(ledger::PageClass::urgent, std::span(&part, 1));
        end.clear();
    }
    bulk_.end();
    stream::append_eof(end);
    const iovec part{end.data(), end.size()};
    return main_.write_framed(ledger::PageClass::guide, peer::FrameKind::last, std::span(&part, 1));
}

void PageSender::shut_down() const {
    main_.shut_down();
    bulk_.shut_down();
    urgent_.shut_down();
}

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/page_sender.h"

#include <algorithm>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace gc {
namespace {

/// What may wait unsent in main's socket: it is what a page sent on main waits for.
constexpr int main_lowat = 128 * 1024;

}  // namespace

PageSender::PageSender(UniqueFd main, UniqueFd urgent, std::uint64_t bandwidth, const Waker& full)
    : main_(std::move(main)), urgent_(std::move(urgent)), full_(full), pacer_(bandwidth) {
    ::setsockopt(main_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &main_lowat, sizeof main_lowat);
}

void PageSender::begin(Ledger& ledger, const SourceImage& image,
                       std::vector<std::size_t> image_index, std::uint32_t ram_section) {
    ledger_ = &ledger;
    image_ = &image;
    image_index_ = std::move(image_index);
    ram_section_ = ram_section;
    for (std::size_t block = 0; block < image_index_.size(); ++block)
        if (image_index_[block] != SourceImage::none && image.is_copied(image_index_[block]))
            granule_room_ = std::max(granule_room_, ledger.granule(block) * page_size);
    urgent_batch_.room.resize(granule_room_);
    main_batch_.room.resize(granule_room_ == 0 ? 0 : section_data + granule_room_);
}

void PageSender::Batch::clear() {
    pages.clear();
    contents.clear();
    used = 0;
    heads.clear();
    cuts.clear();
    parts.clear();
}

void PageSender::Batch::add(PageRef page, Content content) {
    pages.push_back(page);
    contents.push_back(content);
}

Result<void> PageSender::relay(std::span<const std::byte> bytes) {
    const std::lock_guard lock(main_mutex_);
    pacer_.spend(bytes.size(), Pacer::Clock::now());
    return write_all(main_.get(), bytes);
}

Result<void> PageSender::switch_over(std::span<const std::byte> bytes) {
    const std::lock_guard lock(main_mutex_);
    ledger_->seal();
    return write_all(main_.get(), bytes);
}

Result<std::optional<std::size_t>> PageSender::claim(PageRef page, Class as, Batch& batch) const {
    if (!ledger_->claim(page.block, page.number, as))
        return std::nullopt;
    const std::uint64_t granule = ledger_->granule(page.block);
    const std::uint64_t first = page.number - page.number % granule;
    const std::size_t before = batch.pages.size();
    for (std::uint64_t number = first; number < first + granule; ++number)
        batch.add({page.block, number}, std::nullopt);
    const auto contents = std::span(batch.contents).subspan(before);
    GC_CHECK(image_->read(image_index_[page.block], first, contents,
                          std::span(batch.room).subspan(batch.used)));
    const auto data = static_cast<std::size_t>(std::ranges::count_if(
        contents, [](const Content& content) { return content.has_value(); }));
    if (data > 0 && image_->is_copied(image_index_[page.block]))
        batch.used += granule * page_size;
    return data * page_size;
}

Result<bool> PageSender::send_urgent(PageRef page) {
    const std::lock_guard lock(urgent_mutex_);
    std::unique_lock main_lock(main_mutex_, std::defer_lock);
    if (!urgent_)
        main_lock.lock();
    Batch& batch = urgent_batch_;
    batch.clear();
    GC_TRY(const auto claimed, claim(page, Class::urgent, batch));
    if (!claimed)
        return false;
    GC_CHECK(urgent_ ? write_urgent(batch) : write_section(batch, Class::urgent));
    check_full();
    return true;
}

Result<std::size_t> PageSender::send(std::span<const PageRef> pages, Class as) {
    const std::lock_guard lock(main_mutex_);
    Batch& batch = main_batch_;
    batch.clear();
    std::size_t done = 0;
    for (std::size_t data = 0; done < pages.size() && data < section_data; ++done) {
        if (batch.room.size() - batch.used < granule_room_)
            break;
        GC_TRY(const auto claimed, claim(pages[done], as, batch));
        data += claimed.value_or(0);
    }
    if (batch.pages.empty())
        return done;
    GC_CHECK(write_section(batch, as));
    check_full();
    return done;
}

Result<bool> PageSender::forward(PageRef page, Content content, bool asked) {
    const std::lock_guard lock(urgent_mutex_);
    const std::lock_guard main_lock(main_mutex_);
    const Class as = asked ? Class::urgent : Class::background;
    if (!ledger_->claim(page.block, page.number, as))
        return false;
    Batch& batch = urgent_batch_;
    batch.clear();
    batch.add(page, content);
    GC_CHECK(asked && urgent_ ? write_urgent(batch) : write_section(batch, as));
    check_full();
    return true;
}

std::uint64_t PageSender::put_heads(Batch& batch) const {
    std::size_t block = Ledger::no_block;
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

/// The heads, in a buffer that moves no more, with page data in between straight from where it is.
Result<void> PageSender::write(int fd, Batch& batch) {
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
    return write_all(fd, batch.parts);
}

Result<void> PageSender::write_urgent(Batch& batch) {
    const std::uint64_t zeros = put_heads(batch);
    account(Class::urgent, batch.heads.size() + (batch.pages.size() - zeros) * page_size, zeros);
    return write(urgent_.get(), batch);
}

Result<void> PageSender::write_section(Batch& batch, Class as) {
    stream::append_section_part(batch.heads, ram_section_);
    const std::uint64_t zeros = put_heads(batch);
    stream::append_end_of_ram(batch.heads);
    stream::append_section_footer(batch.heads, ram_section_);
    const std::uint64_t size = batch.heads.size() + (batch.pages.size() - zeros) * page_size;
    if (as != Class::urgent)
        pacer_.spend(size, Pacer::Clock::now());
    account(as, size, zeros);
    return write(main_.get(), batch);
}

Pacer::Clock::duration PageSender::rest() const {
    const std::lock_guard lock(main_mutex_);
    return pacer_.wait(Pacer::Clock::now());
}

void PageSender::account(Class as, std::uint64_t bytes, std::uint64_t zero_pages) {
    bytes_[static_cast<std::size_t>(as)] += bytes;
    zero_pages_ += zero_pages;
}

void PageSender::check_full() const {
    if (ledger_->full())
        full_.signal();
}

Result<void> PageSender::finish() {
    const std::lock_guard lock(urgent_mutex_);
    const std::lock_guard main_lock(main_mutex_);
    GC_CHECK(ledger_->check_eof());
    stream::Buffer end;
    if (urgent_) {
        stream::append_end_of_ram(end);
        // From 8.0 on the destination closes this channel itself and may have done so already.
        (void)write_all(urgent_.get(), end);
        end.clear();
    }
    stream::append_eof(end);
    return write_all(main_.get(), end);
}

void PageSender::shut_down() const {
    ::shutdown(main_.get(), SHUT_RDWR);
    if (urgent_)
        ::shutdown(urgent_.get(), SHUT_RDWR);
}

}  // namespace gc

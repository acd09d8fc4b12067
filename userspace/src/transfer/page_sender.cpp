// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/page_sender.h"

#include "stream/writer.h"

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

Result<PageContent> PageSender::read(PageRef page, PageRoom& room) const {
    return image_->page(image_index_[page.block], page.number, room);
}

Result<bool> PageSender::send_urgent(PageRef page) {
    PageRoom room;
    const std::lock_guard lock(urgent_mutex_);
    if (urgent_) {
        if (!ledger_->claim(page.block, page.number, Class::urgent))
            return false;
        GC_TRY(const Content content, read(page, room));
        GC_CHECK(write_urgent(page, content));
    } else {
        const std::lock_guard main_lock(main_mutex_);
        if (!ledger_->claim(page.block, page.number, Class::urgent))
            return false;
        GC_TRY(const Content content, read(page, room));
        GC_CHECK(write_section(std::span(&page, 1), std::span(&content, 1), Class::urgent));
    }
    check_full();
    return true;
}

Result<std::size_t> PageSender::send(std::span<const PageRef> pages, Class as) {
    const std::lock_guard lock(main_mutex_);
    std::vector<PageRef> claimed;
    std::vector<Content> contents;
    std::array<PageRoom, section_data / page_size> rooms;
    std::size_t filled = 0;
    std::size_t done = 0;
    for (; done < pages.size() && filled < rooms.size(); ++done) {
        const PageRef page = pages[done];
        if (!ledger_->claim(page.block, page.number, as))
            continue;
        claimed.push_back(page);
        GC_TRY(const Content content, read(page, rooms[filled]));
        contents.push_back(content);
        filled += content ? 1 : 0;
    }
    if (claimed.empty())
        return done;
    GC_CHECK(write_section(claimed, contents, as));
    check_full();
    return done;
}

Result<bool> PageSender::forward(PageRef page, Content content, bool asked) {
    const std::lock_guard lock(urgent_mutex_);
    const std::lock_guard main_lock(main_mutex_);
    const Class as = asked ? Class::urgent : Class::background;
    if (!ledger_->claim(page.block, page.number, as))
        return false;
    if (asked && urgent_)
        GC_CHECK(write_urgent(page, content));
    else
        GC_CHECK(write_section(std::span(&page, 1), std::span(&content, 1), as));
    check_full();
    return true;
}

Result<void> PageSender::write_urgent(PageRef page, const Content& content) {
    stream::Buffer head;
    stream::append_page_head(head, page.number * page_size, ledger_->blocks()[page.block].name,
                             !content);
    std::array<iovec, 2> parts{{{head.data(), head.size()}, {nullptr, 0}}};
    if (content)
        parts[1] = {const_cast<std::byte*>(content->data()), content->size()};
    account(Class::urgent, head.size() + parts[1].iov_len, content ? 0 : 1);
    return write_all(urgent_.get(), std::span(parts).first(content ? 2 : 1));
}

Result<void> PageSender::write_section(std::span<const PageRef> pages,
                                       std::span<const Content> contents, Class as) {
    // All heads in one buffer that does not move, page data in between straight from the image.
    stream::Buffer heads;
    std::vector<std::size_t> cuts;
    stream::append_section_part(heads, ram_section_);
    std::size_t block = Ledger::no_block;
    std::uint64_t zeros = 0;
    for (std::size_t i = 0; i < pages.size(); ++i) {
        const bool same = pages[i].block == block;
        block = pages[i].block;
        stream::append_page_head(heads, pages[i].number * page_size,
                                 same ? std::string_view{} : ledger_->blocks()[block].name,
                                 !contents[i]);
        zeros += contents[i] ? 0 : 1;
        cuts.push_back(heads.size());
    }
    stream::append_end_of_ram(heads);
    stream::append_section_footer(heads, ram_section_);

    std::vector<iovec> parts;
    std::size_t from = 0;
    for (std::size_t i = 0; i < pages.size(); ++i) {
        if (!contents[i])
            continue;
        parts.push_back({heads.data() + from, cuts[i] - from});
        parts.push_back({const_cast<std::byte*>(contents[i]->data()), contents[i]->size()});
        from = cuts[i];
    }
    parts.push_back({heads.data() + from, heads.size() - from});
    const std::uint64_t size = heads.size() + (pages.size() - zeros) * page_size;
    if (as != Class::urgent)
        pacer_.spend(size, Pacer::Clock::now());
    account(as, size, zeros);
    return write_all(main_.get(), parts);
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

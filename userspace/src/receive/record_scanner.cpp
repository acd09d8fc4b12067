// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/record_scanner.h"

#include "stream/cursor.h"

#include <algorithm>

namespace gc::receive {
namespace {

constexpr std::size_t tag_and_id_size = 5;
constexpr std::size_t record_head_size = 8;

}  // namespace

Result<std::size_t> BlockIds::id(std::string_view name) {
    if (last_ < names_.size() && names_[last_] == name)
        return last_;
    const auto found = std::ranges::find(names_, name);
    if (found == names_.end()) {
        if (name.empty())
            return fail(ErrorKind::protocol, "a RAM block without a name");
        if (names_.size() == stream::max_blocks)
            return fail(ErrorKind::protocol, "RAM block '{}' after {} others; expected at most {}",
                        name, names_.size(), stream::max_blocks);
        names_.emplace_back(name);
        return last_ = names_.size() - 1;
    }
    return last_ = static_cast<std::size_t>(found - names_.begin());
}

RecordScanner::RecordScanner(Start start, BlockIds& blocks, OnPage on_page)
    : start_(start), blocks_(blocks), on_page_(std::move(on_page)) {
    if (start_ == Start::section)
        expect(Expect::section, tag_and_id_size);
    else
        expect(Expect::record, record_head_size);
}

void RecordScanner::expect(Expect expect, std::size_t size) {
    expect_ = expect;
    field_size_ = size;
    field_filled_ = 0;
}

Result<void> RecordScanner::feed(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const std::size_t left = content_left_ > 0 ? content_left_ : field_size_ - field_filled_;
        const std::size_t size = std::min(left, bytes.size());
        const auto taken = bytes.first(size);
        bytes = bytes.subspan(size);
        position_ += size;
        if (content_left_ > 0) {
            content_left_ -= size;
            if (content_left_ == 0)
                complete_page();
            continue;
        }
        std::ranges::copy(taken, field_.begin() + static_cast<std::ptrdiff_t>(field_filled_));
        field_filled_ += size;
        if (field_filled_ < field_size_)
            continue;
        if (auto done = take_field(std::span(field_).first(field_size_)); !done)
            return fail(done.error().kind, "RAM records, before byte {}: {}", position_,
                        done.error().message);
    }
    return {};
}

Result<void> RecordScanner::take_field(std::span<const std::byte> field) {
    stream::Cursor in(field);
    switch (expect_) {
    case Expect::section:
    case Expect::footer: {
        const bool section = expect_ == Expect::section;
        const auto expected = section ? stream::Tag::section_part : stream::Tag::section_footer;
        const auto tag = in.be<std::uint8_t>();
        if (static_cast<stream::Tag>(tag) != expected)
            return fail(ErrorKind::protocol,
                        "expected the {} of a section (0x{:02x}), got 0x{:02x}",
                        section ? "head" : "footer", static_cast<unsigned>(expected), tag);
        if (section)
            expect(Expect::record, record_head_size);
        else
            expect(Expect::section, tag_and_id_size);
        return {};
    }
    case Expect::record:
        return take_record(in.be<std::uint64_t>());
    case Expect::name_length:
        if (field[0] == std::byte{0})
            return fail(ErrorKind::protocol, "a RAM block without a name");
        expect(Expect::name, std::to_integer<std::size_t>(field[0]));
        return {};
    case Expect::name: {
        GC_TRY(page_.block, blocks_.id(in.text(field.size())));
        block_known_ = true;
        expect_content();
        return {};
    }
    case Expect::fill:
        if (field[0] != std::byte{0})
            return fail(ErrorKind::protocol,
                        "expected a page of zeros, got one filled with 0x{:02x}",
                        std::to_integer<unsigned>(field[0]));
        complete_page();
        return {};
    case Expect::nothing:
        break;
    }
    return fail(ErrorKind::protocol, "expected the end of the channel, got more bytes");
}

Result<void> RecordScanner::take_record(std::uint64_t head) {
    const std::uint64_t flags = head & stream::ram_flag_mask;
    if (flags == stream::ram_eos) {
        if (start_ == Start::section)
            expect(Expect::footer, tag_and_id_size);
        else
            expect(Expect::nothing, 1);
        return {};
    }
    const std::uint64_t kind = flags & ~std::uint64_t{stream::ram_continue};
    if (kind != stream::ram_page && kind != stream::ram_zero)
        return fail(ErrorKind::protocol, "expected a page, got a RAM record with the flags 0x{:x}",
                    flags);
    zero_ = kind == stream::ram_zero;
    page_.offset = head & ~stream::ram_flag_mask;
    if ((flags & stream::ram_continue) == 0) {
        expect(Expect::name_length, 1);
        return {};
    }
    if (!block_known_)
        return fail(ErrorKind::protocol, "the first RAM record does not name its block");
    expect_content();
    return {};
}

void RecordScanner::expect_content() {
    expect(Expect::fill, 1);
    content_left_ = zero_ ? 0 : stream::target_page;
}

void RecordScanner::complete_page() {
    expect(Expect::record, record_head_size);
    on_page_(page_);
}

}  // namespace gc::receive

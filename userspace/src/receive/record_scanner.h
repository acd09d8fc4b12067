// SPDX-License-Identifier: GPL-2.0-or-later
// Finds the pages in sections of RAM as they pass. It looks at the heads of the records only: the
// pages' bytes are skipped, never copied, whatever the pieces in which they come.
#pragma once

#include "stream/format.h"
#include "util/error.h"

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gc::receive {

/// Gives each RAM block a small integer, in order of appearance.
class BlockIds {
  public:
    /// Compares with the block of the last call first, which is nearly always the one.
    /// Errors: protocol (no name, or more blocks than a VM can have).
    Result<std::size_t> id(std::string_view name);
    [[nodiscard]] const std::string& name(std::size_t id) const { return names_[id]; }

  private:
    std::vector<std::string> names_;
    std::size_t last_ = 0;
};

/// A target page of a RAM block.
struct BlockPage {
    std::size_t block;     ///< see BlockIds
    std::uint64_t offset;  ///< bytes, in the block
    // NOLINTNEXTLINE(modernize-use-nullptr): a false alarm
    auto operator<=>(const BlockPage&) const = default;
};

/// Not thread-safe.
class RecordScanner {
  public:
    enum class Start {
        section,  ///< sections of RAM, as the source's PageSender writes them on main and bulk
        record,   ///< QEMU's preempt channel: bare records up to the end marker
    };
    /// Called when a page is complete: with the last byte of its content.
    using OnPage = std::function<void(BlockPage)>;

    RecordScanner(Start start, BlockIds& blocks, OnPage on_page);

    /// Takes all of the bytes; an item may end in a later call. Errors: protocol, with the offset
    /// of the item; the scanner is then of no more use.
    Result<void> feed(std::span<const std::byte> bytes);

  private:
    enum class Expect { section, record, name_length, name, fill, footer, nothing };

    void expect(Expect expect, std::size_t size);
    Result<void> take_field(std::span<const std::byte> field);
    Result<void> take_record(std::uint64_t head);
    /// The record's block is known.
    void expect_content();
    void complete_page();

    const Start start_;
    BlockIds& blocks_;
    OnPage on_page_;
    Expect expect_{};
    std::array<std::byte, stream::max_name> field_{};
    std::size_t field_size_ = 0;
    std::size_t field_filled_ = 0;
    std::size_t content_left_ = 0;  ///< bytes of the page that are still to be skipped
    bool zero_ = false;             ///< the record is a zero marker
    bool block_known_ = false;
    BlockPage page_{};
    std::uint64_t position_ = 0;
};

}  // namespace gc::receive

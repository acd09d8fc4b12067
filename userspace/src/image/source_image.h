// SPDX-License-Identifier: GPL-2.0-or-later
// The pristine image: the source's RAM, read-only. It is frozen from switch-over on.
#pragma once

#include "util/block_pool.h"
#include "util/fd.h"
#include "util/page.h"
#include "util/process_memory.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gc::image {

/// A RAM block of the guest. Its content is in a shared file, or in QEMU's own memory only.
struct ImageBlock {
    std::string name;          ///< QEMU's RAM block name, e.g. "pc.ram"
    std::string backend;       ///< id of QEMU's memory backend
    std::uint64_t length = 0;  ///< bytes
    UniqueFd file;             ///< opened for reading; if not set, `memory` is
    std::uint64_t offset = 0;  ///< position in the file of the block's first byte
    std::optional<ProcessMemory> memory;
};

/// The bytes of a page, or nullopt for a page of zeros.
using PageContent = std::optional<std::span<const std::byte>>;

class SourceImage {
  public:
    static constexpr std::size_t none = SIZE_MAX;
    /// The maximum number of pages in one call of find_data().
    static constexpr std::uint64_t window = 64;

    /// A part of a file, mapped for inspection. Faulting in single pages costs more than copying
    /// them, but scanning consecutive pages costs less, and pages that are sent from the file need
    /// no copy at all.
    class View {
      public:
        /// The bytes of a range of a file, for others to hold; empty if the view does not show them
        /// all.
        [[nodiscard]] HeldBytes bytes(int file, std::uint64_t offset, std::size_t size) const;

      private:
        friend SourceImage;
        std::size_t block_ = none;
        std::uint64_t first_ = 0;
        int file_ = -1;
        std::uint64_t offset_ = 0;  ///< in the file
        std::shared_ptr<const Mapping> mapping_;
    };

    /// What is known about pages before they are read.
    enum class Known { nothing, data, zeros };

    /// Maps the blocks that are in huge-page files or on devices. Errors: io.
    static Result<SourceImage> open(std::vector<ImageBlock> blocks);

    /// The index of a block in blocks(), or `none` if its pages come from the source QEMU's stream.
    [[nodiscard]] std::size_t find(std::string_view name) const;
    [[nodiscard]] const std::vector<ImageBlock>& blocks() const { return blocks_; }

    /// Whether read() copies the pages.
    [[nodiscard]] bool is_copied(std::size_t block) const { return maps_[block].size() == 0; }
    /// Whether the pages are in a file from which the kernel can send them (sendfile).
    [[nodiscard]] bool is_in_file(std::size_t block) const {
        return is_copied(block) && !blocks_[block].memory;
    }

    /// Reads pages from `first` on, as many as `into` holds. Their bytes are in the image itself
    /// or, if is_copied(), in `room`, which must hold as many pages. Reading does not allocate
    /// pages that were never written: holes of a file, and memory that QEMU has not touched.
    /// Errors: io.
    Result<void> read(std::size_t block, std::uint64_t first, std::span<PageContent> into,
                      std::span<std::byte> room, Known known = Known::nothing) const;
    /// The nonzero pages of a range: bit i stands for page first + i.
    struct Found {
        std::uint64_t data = 0;
        bool copied = false;  ///< the pages are in `room`
    };
    /// Finds the nonzero pages of a range of at most `window` pages.
    /// @param room must hold `count` pages if is_copied()
    /// @param view for a block that is_in_file(); keep it from one call to the next
    /// Errors: those of read().
    [[nodiscard]] Result<Found> find_data(std::size_t block, std::uint64_t first,
                                          std::uint64_t count, std::span<std::byte> room,
                                          View& view) const;

    /// The first page at or after `number` that may be nonzero, found without reading pages, or the
    /// block's end. Errors: io, for a block without a file.
    Result<std::uint64_t> next_data(std::size_t block, std::uint64_t number) const;
    /// The first page at or after `number` that is known to be zeros without reading it (a hole of
    /// the file, or memory that was never populated), or the block's end. Errors: io, for a block
    /// without a file.
    Result<std::uint64_t> next_hole(std::size_t block, std::uint64_t number) const;

  private:
    [[nodiscard]] std::span<const std::byte> bytes_of(std::size_t block,
                                                      std::uint64_t number) const;
    [[nodiscard]] Result<void> copy(std::size_t block, std::uint64_t first,
                                    std::span<std::byte> into) const;
    /// The nonzero pages among the mapped pages from `first` on.
    [[nodiscard]] Result<std::uint64_t> find_mapped(std::size_t block, std::uint64_t first,
                                                    std::span<const std::byte> there) const;
    [[nodiscard]] Result<PageContent> mapped(std::size_t block, std::uint64_t number) const;
    /// Makes the view show this page and those after it.
    Result<void> show(View& view, std::size_t block, std::uint64_t first) const;

    std::vector<ImageBlock> blocks_;
    std::vector<Mapping> maps_;  ///< one per block; empty if the block is copied
};

}  // namespace gc::image

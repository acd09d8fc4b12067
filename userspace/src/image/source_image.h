// SPDX-License-Identifier: GPL-2.0-or-later
// The pristine image: the source's RAM, to be read. It is frozen from switch-over on.
#pragma once

#include "util/fd.h"
#include "util/page.h"
#include "util/process_memory.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gc::image {

/// One RAM block of the guest. Its content is in a shared file, or only in QEMU's own memory.
struct ImageBlock {
    std::string name;          ///< QEMU's RAM block name, e.g. "pc.ram"
    std::string backend;       ///< id of QEMU's memory backend
    std::uint64_t length = 0;  ///< bytes
    UniqueFd file;             ///< opened for reading; or none, and `memory` instead
    std::uint64_t offset = 0;  ///< of the block's first byte in the file
    std::optional<ProcessMemory> memory;
};

/// A page's bytes, or nothing for a page of zeros.
using PageContent = std::optional<std::span<const std::byte>>;

class SourceImage {
  public:
    static constexpr std::size_t none = SIZE_MAX;
    /// What find_data() looks at together, in pages.
    static constexpr std::uint64_t window = 64;

    /// Some of a file, mapped to be looked at: page by page in a fault it is more work than to
    /// copy it, but one after another less, and what is sent from the file is not copied at all.
    class View {
        friend SourceImage;
        std::size_t block_ = none;
        std::uint64_t first_ = 0;
        Mapping mapping_;
    };

    /// What is known of pages before they are read.
    enum class Known { nothing, data, zeros };

    /// Maps the blocks in files of huge pages, and devices. Errors: io.
    static Result<SourceImage> open(std::vector<ImageBlock> blocks);

    /// The index of a block in blocks(), or `none`: its pages come from the source QEMU's stream.
    [[nodiscard]] std::size_t find(std::string_view name) const;
    [[nodiscard]] const std::vector<ImageBlock>& blocks() const { return blocks_; }

    /// Whether read() copies the pages.
    [[nodiscard]] bool is_copied(std::size_t block) const { return maps_[block].size() == 0; }
    /// Whether they are in a file that the kernel can send them from (sendfile).
    [[nodiscard]] bool is_in_file(std::size_t block) const {
        return is_copied(block) && !blocks_[block].memory;
    }

    /// The pages from `first` on, as many as `into` has. Their bytes are in the image itself, or,
    /// if is_copied(), in `room`, which must have as many. What was never written, a hole of a file
    /// or memory that QEMU has not touched, is not allocated by it. Errors: io.
    Result<void> read(std::size_t block, std::uint64_t first, std::span<PageContent> into,
                      std::span<std::byte> room, Known known = Known::nothing) const;
    /// Which of these pages, at most `window`, are other than zero: bit i of page first + i.
    struct Found {
        std::uint64_t data = 0;
        bool copied = false;  ///< the pages are in `room`
    };
    /// @param room for so many pages, if is_copied()
    /// @param view of a block that is_in_file(): kept from one call to the next
    /// Errors: as of read().
    [[nodiscard]] Result<Found> find_data(std::size_t block, std::uint64_t first,
                                          std::uint64_t count, std::span<std::byte> room,
                                          View& view) const;

    /// The first page from `number` on that may be other than zero, without reading it; the block's
    /// end if there is none. Errors: io, for a block without a file.
    Result<std::uint64_t> next_data(std::size_t block, std::uint64_t number) const;

  private:
    [[nodiscard]] std::span<const std::byte> bytes_of(std::size_t block,
                                                      std::uint64_t number) const;
    [[nodiscard]] Result<void> copy(std::size_t block, std::uint64_t first,
                                    std::span<std::byte> into) const;
    /// Which of the pages, from `first` on, that are mapped there.
    [[nodiscard]] Result<std::uint64_t> find_mapped(std::size_t block, std::uint64_t first,
                                                    std::span<const std::byte> there) const;
    [[nodiscard]] Result<PageContent> mapped(std::size_t block, std::uint64_t number) const;
    /// Has the view show this page and those after it.
    Result<void> show(View& view, std::size_t block, std::uint64_t first) const;

    std::vector<ImageBlock> blocks_;
    std::vector<Mapping> maps_;  ///< of each block; empty where it is copied
};

}  // namespace gc::image

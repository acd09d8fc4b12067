// SPDX-License-Identifier: GPL-2.0-or-later
// The pristine image: the source's shared RAM, mapped read-only. It is frozen from switch-over on.
#pragma once

#include "util/fd.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gc {

inline constexpr std::size_t page_size = 4096;

/// One RAM block that a shared file of the source host backs.
struct ImageBlock {
    std::string name;          ///< QEMU's RAM block name, e.g. "pc.ram"
    std::string backend;       ///< id of QEMU's memory backend
    UniqueFd file;             ///< opened for reading
    std::uint64_t offset = 0;  ///< of the block's first byte in the file
    std::uint64_t length = 0;  ///< bytes
};

class SourceImage {
  public:
    static constexpr std::size_t none = SIZE_MAX;

    /// Maps every block. Errors: io.
    static Result<SourceImage> map(std::vector<ImageBlock> blocks);

    /// The index of a block in blocks(), or `none`: its pages come from the source QEMU's stream.
    [[nodiscard]] std::size_t find(std::string_view name) const;
    [[nodiscard]] const std::vector<ImageBlock>& blocks() const { return blocks_; }

    /// The page's bytes, or nothing when it is all zero. A hole of the file is not touched: to read
    /// it through the mapping would allocate it.
    [[nodiscard]] std::optional<std::span<const std::byte>> page(std::size_t block,
                                                                 std::uint64_t number) const;

    /// The first page from `number` on that is in no hole of the file; the block's end if there is
    /// none.
    [[nodiscard]] std::uint64_t next_data(std::size_t block, std::uint64_t number) const;

  private:
    std::vector<ImageBlock> blocks_;
    std::vector<Mapping> maps_;
};

}  // namespace gc

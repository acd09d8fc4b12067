// SPDX-License-Identifier: GPL-2.0-or-later
// The pages of one RAM block that the destination has.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace gc::recover {

class PageSet {
  public:
    explicit PageSet(std::uint64_t pages = 0) : pages_(pages), words_((pages + 63) / 64) {}
    /// @param bits one a page, little-endian, as QEMU's RECV_BITMAP. Bits that are absent are 0.
    PageSet(std::uint64_t pages, std::span<const std::byte> bits) : PageSet(pages) {
        for (std::uint64_t page = 0; page < pages && page / 8 < bits.size(); ++page)
            if ((std::to_integer<unsigned>(bits[page / 8]) >> page % 8 & 1) != 0)
                add(page);
    }

    [[nodiscard]] std::uint64_t pages() const { return pages_; }
    [[nodiscard]] std::uint64_t missing() const { return pages_ - count_; }
    [[nodiscard]] bool has(std::uint64_t page) const {
        return (words_[page / 64] >> page % 64 & 1) != 0;
    }
    /// @return whether the page is new. It must be one of the block.
    bool add(std::uint64_t page) {
        if (has(page))
            return false;
        words_[page / 64] |= std::uint64_t{1} << page % 64;
        ++count_;
        return true;
    }
    /// The first page >= from that is not in the set, or pages().
    [[nodiscard]] std::uint64_t next_missing(std::uint64_t from) const {
        while (from < pages_) {
            const std::uint64_t rest = ~words_[from / 64] >> from % 64;
            if (rest != 0) {
                from += static_cast<std::uint64_t>(std::countr_zero(rest));
                break;
            }
            from = (from / 64 + 1) * 64;
        }
        return from < pages_ ? from : pages_;
    }
    /// In the form that the constructor takes, in whole 64-bit words.
    [[nodiscard]] std::vector<std::byte> bits() const {
        std::vector<std::byte> bits(words_.size() * 8);
        for (std::uint64_t page = 0; page < pages_; ++page)
            if (has(page))
                bits[page / 8] |= std::byte{1} << page % 8;
        return bits;
    }

  private:
    std::uint64_t pages_;
    std::uint64_t count_ = 0;
    std::vector<std::uint64_t> words_;
};

/// Of all blocks together.
[[nodiscard]] inline std::uint64_t missing(std::span<const PageSet> sets) {
    std::uint64_t missing = 0;
    for (const PageSet& set : sets)
        missing += set.missing();
    return missing;
}

}  // namespace gc::recover

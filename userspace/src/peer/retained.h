// SPDX-License-Identifier: GPL-2.0-or-later
// What was written to a channel and may have to be sent again.
#pragma once

#include "util/block_pool.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

namespace gc::peer {

/// Bytes in memory, or a range of a file.
struct Piece {
    std::span<const std::byte> memory;  ///< of a file: empty if it is not mapped
    int file = -1;                      ///< -1: in memory
    std::uint64_t offset = 0;
    std::size_t file_size = 0;

    [[nodiscard]] std::size_t size() const { return file < 0 ? memory.size() : file_size; }
};

/// A queue of bytes, addressed by their positions in a stream. Not thread-safe; but pieces stay
/// valid until they are dropped, while others are added.
class Retained {
  public:
    /// Adds bytes by copying them.
    void copy(std::span<const std::byte> bytes);
    /// Adds bytes that stay where they are, unchanged, until they are dropped.
    /// @param owner of a mapping of the file; takes no memory
    void refer(const Piece& piece, std::shared_ptr<const void> owner = nullptr);
    /// Adds bytes that are kept by holding their owner.
    void hold(std::span<const std::byte> bytes, std::shared_ptr<const void> owner);

    /// The position of the oldest byte, and the one after the newest.
    [[nodiscard]] std::uint64_t begin() const { return begin_; }
    [[nodiscard]] std::uint64_t end() const { return end_; }
    /// Bytes of memory that are used for nothing else: copies, and what is held.
    [[nodiscard]] std::size_t copied() const { return copied_; }

    /// Drops what is before the position.
    void drop(std::uint64_t position);
    /// At most `max_bytes` from a position that is retained, in order.
    [[nodiscard]] std::vector<Piece> pieces(std::uint64_t from, std::size_t max_bytes) const;

  private:
    struct Segment {
        std::uint64_t begin;
        Piece piece;
        std::shared_ptr<const void> owner;  ///< of the piece; nullptr if it needs none
        bool copied;
    };
    /// Copies share blocks: most are the few bytes between two pages.
    static constexpr std::size_t block_size = std::size_t{64} * 1024;

    static constexpr std::size_t max_spare = 4;

    void add(const Piece& piece, std::shared_ptr<const void> owner, bool copied);

    std::deque<Segment> segments_;
    std::uint64_t begin_ = 0;
    std::uint64_t end_ = 0;
    std::size_t copied_ = 0;
    BlockPool pool_{block_size, max_spare};
    BlockPool::Block block_;  ///< of the newest copy
    std::size_t block_used_ = block_size;
};

}  // namespace gc::peer

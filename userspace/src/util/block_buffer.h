// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "util/block_pool.h"
#include "util/fd.h"

#include <algorithm>
#include <cstddef>
#include <span>

namespace gc {
inline namespace util {

/// Bytes that were received and not yet consumed, as a ReadBuffer, in memory that others may hold
/// for longer: what was lent is never overwritten while they do.
class BlockBuffer {
  public:
    /// The maximum size of one read: all that a unix socket holds by default.
    static constexpr std::size_t chunk = std::size_t{256} * 1024;
    static constexpr std::size_t block_size = 4 * chunk;

    /// Reads once, at most `max_bytes`. @return the number of bytes, 0 at end of file. Errors: io.
    Result<std::size_t> fill(int fd, std::size_t max_bytes = chunk) {
        make_room();
        const std::size_t room = std::min({max_bytes, chunk, size_ - end_});
        GC_TRY(const std::size_t got, read_some(fd, {block_.get() + end_, room}));
        end_ += got;
        return got;
    }

    [[nodiscard]] std::span<const std::byte> bytes() const {
        return {block_.get() + begin_, end_ - begin_};
    }
    /// What is in memory of bytes() and of those consumed before, for others to hold.
    [[nodiscard]] HeldBytes lend() {
        lent_ = true;
        return {{block_.get(), end_}, block_};
    }
    /// Consumes all but the last `count` bytes.
    void keep(std::size_t count) { begin_ = end_ - count; }

  private:
    /// Reads of less than this are not worth their system call, while there is more to read.
    static constexpr std::size_t min_room = chunk / 4;
    static constexpr std::size_t max_spare = 4;

    void make_room() {
        if (begin_ == end_ && !lent_)
            begin_ = end_ = 0;
        if (size_ - end_ >= min_room)
            return;
        const std::span<const std::byte> left = bytes();
        if (!lent_ && size_ - left.size() >= chunk) {
            std::copy(left.begin(), left.end(), block_.get());
        } else {
            const std::size_t wanted = 2 * left.size() + chunk;
            BlockPool::Block fresh =
                wanted <= block_size ? pool_.take() : BlockPool::Block(new std::byte[wanted]);
            std::copy(left.begin(), left.end(), fresh.get());
            block_ = std::move(fresh);
            size_ = std::max(wanted, block_size);
            lent_ = false;
        }
        end_ = left.size();
        begin_ = 0;
    }

    BlockPool pool_{block_size, max_spare};
    BlockPool::Block block_;
    std::size_t size_ = 0;  ///< of the block
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    bool lent_ = false;  ///< somebody may hold the block
};

}  // namespace util
}  // namespace gc

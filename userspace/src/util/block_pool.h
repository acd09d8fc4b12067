// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace gc {
inline namespace util {

/// Bytes that stay unchanged for as long as `owner` is held.
struct HeldBytes {
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> owner;

    [[nodiscard]] bool contain(std::span<const std::byte> part) const {
        return !part.empty() && part.data() >= bytes.data() &&
               part.data() + part.size() <= bytes.data() + bytes.size();
    }
};

/// Blocks of memory, each of which its holders share, and which is used again when the last of them
/// lets it go: fresh memory costs a page fault for each 4 KiB. Thread-safe.
class BlockPool {
  public:
    using Block = std::shared_ptr<std::byte[]>;

    /// @param block_size in bytes
    /// @param max_spare number of blocks that are kept while nobody holds them
    BlockPool(std::size_t block_size, std::size_t max_spare)
        : spare_(std::make_shared<Spare>(block_size, max_spare)) {}

    [[nodiscard]] std::size_t block_size() const { return spare_->block_size; }
    /// A block with any content. It may outlive the pool.
    [[nodiscard]] Block take() const {
        return {spare_->take().release(),
                [spare = spare_](std::byte* block) { spare->give_back(Memory(block)); }};
    }

  private:
    using Memory = std::unique_ptr<std::byte[]>;

    struct Spare {
        Spare(std::size_t size, std::size_t count) : block_size(size), max_count(count) {
            blocks.reserve(count);
        }
        Memory take() {
            {
                const std::lock_guard lock(mutex);
                if (!blocks.empty()) {
                    Memory block = std::move(blocks.back());
                    blocks.pop_back();
                    return block;
                }
            }
            return Memory(new std::byte[block_size]);
        }
        void give_back(Memory block) {
            const std::lock_guard lock(mutex);
            if (blocks.size() < max_count)
                blocks.push_back(std::move(block));
        }

        const std::size_t block_size, max_count;
        std::mutex mutex;
        std::vector<Memory> blocks;
    };

    std::shared_ptr<Spare> spare_;
};

}  // namespace util
}  // namespace gc

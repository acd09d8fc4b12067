// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes to be written together, by reference. Most relayed bytes are written as they were read, and
// copying them would be most of the work.
#pragma once

#include "stream/writer.h"
#include "util/block_pool.h"

#include <cstddef>
#include <deque>
#include <span>
#include <sys/uio.h>
#include <vector>

namespace gc::transfer {

class Gather {
  public:
    /// Bytes that stay where they are until clear().
    void refer(std::span<const std::byte> bytes) {
        if (bytes.empty())
            return;
        size_ += bytes.size();
        // Bytes that were read together are mostly written together.
        if (!parts_.empty() && end_of(parts_.back()) == bytes.data())
            parts_.back().iov_len += bytes.size();
        else
            parts_.push_back({const_cast<std::byte*>(bytes.data()), bytes.size()});
    }
    /// Those of the bytes that others may hold after clear(), too.
    void lend(HeldBytes bytes) { held_ = std::move(bytes); }
    /// Takes ownership of bytes made for this stream.
    void own(stream::Buffer bytes) {
        owned_.push_back(std::move(bytes));
        refer(owned_.back());
    }
    void clear() {
        parts_.clear();
        owned_.clear();
        held_ = {};
        size_ = 0;
    }

    [[nodiscard]] bool empty() const { return parts_.empty(); }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::span<const iovec> parts() const { return parts_; }
    [[nodiscard]] const HeldBytes& held() const { return held_; }

  private:
    static const std::byte* end_of(const iovec& part) {
        return static_cast<const std::byte*>(part.iov_base) + part.iov_len;
    }

    std::vector<iovec> parts_;
    std::deque<stream::Buffer> owned_;  ///< a deque, so that the bytes stay in place
    std::size_t size_ = 0;
    HeldBytes held_;
};

}  // namespace gc::transfer

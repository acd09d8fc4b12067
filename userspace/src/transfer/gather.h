// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes that leave together, from where they are: most of what is relayed is written as it was
// read, and copying it would be the most work that it takes.
#pragma once

#include "stream/writer.h"

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
        // What was read in one piece mostly goes on in one.
        if (!parts_.empty() && end_of(parts_.back()) == bytes.data())
            parts_.back().iov_len += bytes.size();
        else
            parts_.push_back({const_cast<std::byte*>(bytes.data()), bytes.size()});
    }
    /// Bytes that were made for this.
    void own(stream::Buffer bytes) {
        owned_.push_back(std::move(bytes));
        refer(owned_.back());
    }
    void clear() {
        parts_.clear();
        owned_.clear();
        size_ = 0;
    }

    [[nodiscard]] bool empty() const { return parts_.empty(); }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::span<const iovec> parts() const { return parts_; }

  private:
    static const std::byte* end_of(const iovec& part) {
        return static_cast<const std::byte*>(part.iov_base) + part.iov_len;
    }

    std::vector<iovec> parts_;
    std::deque<stream::Buffer> owned_;  ///< grows at its end only, which keeps the bytes in place
    std::size_t size_ = 0;
};

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes read and not yet consumed, without moving or clearing memory at each read.
#pragma once

#include "util/fd.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace gc::transfer {

class ReadBuffer {
  public:
    /// Maximum of one read, in bytes: what a unix socket holds by default.
    static constexpr std::size_t max_read = std::size_t{256} * 1024;

    /// Reads once, at most `max` bytes. @return bytes read; 0 at end of file. Errors: io.
    Result<std::size_t> fill(int fd, std::size_t max = max_read) {
        make_room();
        const std::size_t room = std::min(max, max_read);
        GC_TRY(const std::size_t got, read_some(fd, std::span(data_).subspan(end_, room)));
        end_ += got;
        return got;
    }

    [[nodiscard]] std::span<const std::byte> bytes() const {
        return std::span(data_).subspan(begin_, end_ - begin_);
    }
    /// Consumes everything but the last `count` bytes.
    void keep(std::size_t count) { begin_ = end_ - count; }

  private:
    void make_room() {
        if (begin_ == end_)
            begin_ = end_ = 0;
        if (data_.size() - end_ >= max_read)
            return;
        std::copy(data_.begin() + static_cast<std::ptrdiff_t>(begin_),
                  data_.begin() + static_cast<std::ptrdiff_t>(end_), data_.begin());
        end_ -= begin_;
        begin_ = 0;
        if (data_.size() - end_ < max_read)
            data_.resize(std::max(data_.size() * 2, end_ + max_read));
    }

    std::vector<std::byte> data_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes that were read and not yet taken, without moving or clearing memory at each read.
#pragma once

#include "util/fd.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace gc::transfer {

class ReadBuffer {
  public:
    /// What one read takes at most: all that a unix socket holds by default.
    static constexpr std::size_t chunk = std::size_t{256} * 1024;

    /// Reads once, at most so much. @return bytes that came; 0 at the end of the file. Errors: io.
    Result<std::size_t> fill(int fd, std::size_t most = chunk) {
        make_room();
        const std::size_t room = std::min(most, chunk);
        GC_TRY(const std::size_t got, read_some(fd, std::span(data_).subspan(end_, room)));
        end_ += got;
        return got;
    }

    [[nodiscard]] std::span<const std::byte> bytes() const {
        return std::span(data_).subspan(begin_, end_ - begin_);
    }
    /// All but the last `count` bytes are taken.
    void keep(std::size_t count) { begin_ = end_ - count; }

  private:
    void make_room() {
        if (begin_ == end_)
            begin_ = end_ = 0;
        if (data_.size() - end_ >= chunk)
            return;
        std::copy(data_.begin() + static_cast<std::ptrdiff_t>(begin_),
                  data_.begin() + static_cast<std::ptrdiff_t>(end_), data_.begin());
        end_ -= begin_;
        begin_ = 0;
        if (data_.size() - end_ < chunk)
            data_.resize(std::max(data_.size() * 2, end_ + chunk));
    }

    std::vector<std::byte> data_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace gc::transfer

// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "util/fd.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace gc {
inline namespace util {

/// Bytes that were received and not yet consumed. Does not move or clear memory at each read.
class ReadBuffer {
  public:
    /// The maximum size of one read: all that a unix socket holds by default.
    static constexpr std::size_t chunk = std::size_t{256} * 1024;

    /// Reads once, at most `max_bytes`. @return the number of bytes, 0 at end of file. Errors: io.
    Result<std::size_t> fill(int fd, std::size_t max_bytes = chunk) {
        return fill_with([fd](std::span<std::byte> room) { return read_some(fd, room); },
                         max_bytes);
    }
    /// The same with a function Result<std::size_t> read(std::span<std::byte>).
    template <typename Read>
    Result<std::size_t> fill_with(Read read, std::size_t max_bytes = chunk) {
        make_room(chunk);
        const std::size_t room = std::min(max_bytes, chunk);
        GC_TRY(const std::size_t got, read(std::span(data_).subspan(end_, room)));
        end_ += got;
        return got;
    }
    void append(std::span<const std::byte> bytes) {
        make_room(bytes.size());
        std::ranges::copy(bytes, data_.begin() + static_cast<std::ptrdiff_t>(end_));
        end_ += bytes.size();
    }

    [[nodiscard]] std::span<const std::byte> bytes() const {
        return std::span(data_).subspan(begin_, end_ - begin_);
    }
    /// Consumes all but the last `count` bytes.
    void keep(std::size_t count) {
        begin_ = end_ - count;
        searched_ = 0;
    }
    /// Consumes the first line. @return the line without its '\n', valid until more bytes are
    /// added, or nullopt if no line is complete
    std::optional<std::string_view> take_line() {
        const auto rest = bytes();
        const std::string_view text(reinterpret_cast<const char*>(rest.data()), rest.size());
        const std::size_t end = text.find('\n', searched_);
        if (end == std::string_view::npos) {
            searched_ = text.size();
            return std::nullopt;
        }
        keep(text.size() - end - 1);
        return text.substr(0, end);
    }

  private:
    void make_room(std::size_t size) {
        if (begin_ == end_)
            begin_ = end_ = 0;
        if (data_.size() - end_ >= size)
            return;
        std::copy(data_.begin() + static_cast<std::ptrdiff_t>(begin_),
                  data_.begin() + static_cast<std::ptrdiff_t>(end_), data_.begin());
        end_ -= begin_;
        begin_ = 0;
        if (data_.size() - end_ < size)
            data_.resize(std::max(data_.size() * 2, end_ + size));
    }

    std::vector<std::byte> data_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t searched_ = 0;  ///< bytes after begin_ that are known to contain no '\n'
};

}  // namespace util
}  // namespace gc

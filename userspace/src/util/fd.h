// SPDX-License-Identifier: GPL-2.0-or-later
// Owners of file descriptors and memory mappings.
#pragma once

#include "util/error.h"

#include <cstddef>
#include <span>
#include <sys/uio.h>
#include <utility>

namespace gc {
inline namespace util {

/// Owns a file descriptor; -1 if it owns none.
class UniqueFd {
  public:
    UniqueFd() = default;
    explicit UniqueFd(int fd) : fd_(fd) {}
    UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept {
        reset(std::exchange(other.fd_, -1));
        return *this;
    }
    UniqueFd(const UniqueFd&) = delete;
    UniqueFd& operator=(const UniqueFd&) = delete;
    ~UniqueFd() { reset(); }

    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] int release() { return std::exchange(fd_, -1); }
    explicit operator bool() const { return fd_ >= 0; }
    void reset(int fd = -1);

  private:
    int fd_ = -1;
};

/// Owns a memory mapping.
class Mapping {
  public:
    Mapping() = default;
    Mapping(void* start, std::size_t length) : start_(start), length_(length) {}
    Mapping(Mapping&& other) noexcept
        : start_(std::exchange(other.start_, nullptr)), length_(std::exchange(other.length_, 0)) {}
    Mapping& operator=(Mapping&& other) noexcept {
        std::swap(start_, other.start_);
        std::swap(length_, other.length_);
        return *this;
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping();

    /// Maps a range of a file with mmap(2). @param what names the range in error messages
    static Result<Mapping> map(int fd, std::size_t length, int prot, int flags, off_t offset,
                               std::string_view what);

    [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(start_); }
    [[nodiscard]] std::size_t size() const { return length_; }
    [[nodiscard]] std::span<const std::byte> bytes() const { return {data(), length_}; }

  private:
    void* start_ = nullptr;
    std::size_t length_ = 0;
};

/// Writes all bytes to a blocking descriptor, through EINTR and short writes. Never raises SIGPIPE
/// on a socket. Modifies the vector.
/// @param flags flags of send(2), for sockets
/// Errors: io.
Result<void> write_all(int fd, std::span<iovec> parts, int flags = 0);
Result<void> write_all(int fd, std::span<const std::byte> bytes);

/// Reads at least one byte into the span. @return 0 at end of file. Errors: io.
Result<std::size_t> read_some(int fd, std::span<std::byte> into);

/// Fills the span. @return false if the file ends before the first byte
/// Errors: io, also if the file ends in the middle of the span.
Result<bool> read_whole(int fd, std::span<std::byte> into);

}  // namespace util
}  // namespace gc

// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/fd.h"

#include "util/read_whole.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gc {
inline namespace util {

void UniqueFd::reset(int fd) {
    if (fd_ >= 0)
        ::close(fd_);
    fd_ = fd;
}

Mapping::~Mapping() {
    if (start_ != nullptr)
        ::munmap(start_, length_);
}

Result<Mapping> Mapping::map(int fd, std::size_t length, int prot, int flags, off_t offset,
                             std::string_view what) {
    void* start = ::mmap(nullptr, length, prot, flags, fd, offset);
    if (start == MAP_FAILED)
        return fail_errno(errno, fmt::format("mmap {} bytes of {}", length, what));
    return Mapping(start, length);
}

Result<void> write_all(int fd, std::span<iovec> parts, int flags) {
    while (!parts.empty()) {
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = std::min<std::size_t>(parts.size(), IOV_MAX);
        ssize_t written = ::sendmsg(fd, &message, MSG_NOSIGNAL | flags);
        if (written < 0 && errno == ENOTSOCK)
            written = ::writev(fd, parts.data(), static_cast<int>(message.msg_iovlen));
        if (written < 0) {
            if (errno == EINTR)
                continue;
            return fail_errno(errno, "write");
        }
        auto left = static_cast<std::size_t>(written);
        while (!parts.empty() && left >= parts.front().iov_len) {
            left -= parts.front().iov_len;
            parts = parts.subspan(1);
        }
        if (!parts.empty()) {
            parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + left;
            parts.front().iov_len -= left;
        }
    }
    return {};
}

Result<void> write_all(int fd, std::span<const std::byte> bytes) {
    iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
    return write_all(fd, std::span(&part, 1));
}

Result<std::size_t> read_some(int fd, std::span<std::byte> into) {
    for (;;) {
        const ssize_t got = ::read(fd, into.data(), into.size());
        if (got >= 0)
            return static_cast<std::size_t>(got);
        if (errno != EINTR)
            return fail_errno(errno, "read");
    }
}

Result<bool> read_whole(int fd, std::span<std::byte> into) {
    return read_whole_with([fd](auto room) { return read_some(fd, room); }, into);
}

}  // namespace util
}  // namespace gc

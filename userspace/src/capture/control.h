// SPDX-License-Identifier: GPL-2.0-or-later
// The control file of guidecopy.ko: the parts common to sessions and tracks.
#pragma once

#include "capture/ring_consumer.h"
#include "util/fd.h"

#include <cerrno>
#include <string>
#include <sys/ioctl.h>

namespace gc::capture {

/// A zeroed ioctl argument with its size filled in.
template <typename T> T argument() {
    T value{};
    value.size = sizeof(T);
    return value;
}

template <typename T>
Result<void> command(int fd, unsigned long request, T& value, const char* name) {
    if (::ioctl(fd, request, &value) != 0)
        return fail_errno(errno, fmt::format("{}: {}", GC_DEVICE_PATH, name));
    return {};
}

/// Opens /dev/guidecopy. Errors: unsupported, with the command that fixes it.
Result<UniqueFd> open_control();
Result<Stats> read_stats(int fd);
Result<void> rearm_pages(int fd, std::uint64_t first, std::uint64_t count);

/// Why the module refuses memory or another session or track, and what to do.
/// @param entries,pages of the session or track
std::string no_memory(std::uint64_t entries, std::uint64_t pages);
std::string too_many();

/// The mapped ring of a control file with a session or a track.
class Ring {
  public:
    /// @param pages size of the session or track
    static Result<Ring> map(int fd, std::uint64_t pages);

    /// Reads records, and wakes the producer if it waits for room.
    Result<std::size_t> read(int fd, std::span<Record> into);

  private:
    Ring(Mapping consumer_page, Mapping producer_page, Mapping records, RingConsumer consumer)
        : consumer_page_(std::move(consumer_page)), producer_page_(std::move(producer_page)),
          records_(std::move(records)), consumer_(consumer) {}

    Mapping consumer_page_;
    Mapping producer_page_;
    Mapping records_;
    RingConsumer consumer_;
};

}  // namespace gc::capture

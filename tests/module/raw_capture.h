// SPDX-License-Identifier: GPL-2.0-or-later
// A control file by its ioctls alone, with every field of its records: what guidecopy.h promises,
// without gcctl's library.
#pragma once

#include "support.h"

#include <guidecopy.h>

namespace gc::capture::test {

/// Zeroed, with its size filled in.
template <typename T> T argument() {
    T value{};
    value.size = sizeof(T);
    return value;
}

/// errno of an ioctl, 0 on success.
int errno_of(int fd, unsigned long request, void* argument);

UniqueFd open_control();

class RawCapture {
  public:
    /// errno of the command that makes it, 0 on success; the rest is for what exists.
    int create(gc_session_create arg);
    int create(gc_track_create arg, const std::vector<gc_range>& ranges);

    [[nodiscard]] int fd() const { return control_.get(); }
    [[nodiscard]] int node() const { return node_.get(); }
    [[nodiscard]] gc_stats stats() const;
    [[nodiscard]] int rearm(std::uint64_t first, std::uint64_t count) const;

    /// GC_IOC_SCAN of all of `arg`'s pages; what it found is in `arg` and in the ring.
    int scan(gc_scan& arg) const;

    /// All records that are there now.
    std::vector<gc_record> take();

    void close();

  private:
    void map_ring();

    UniqueFd control_ = open_control();
    UniqueFd node_;
    Mapping consumer_;
    Mapping producer_;
    Mapping records_;
    std::uint64_t tail_ = 0;
};

std::vector<std::uint64_t> pages_of(const std::vector<gc_record>& records);

}  // namespace gc::capture::test
